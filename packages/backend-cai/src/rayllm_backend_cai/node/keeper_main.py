"""`python -m rayllm_backend_cai.node.keeper_main`: keeps the workers of the cluster whose head this pod is.

A process of its own beside the head's supervisor, which starts it again when it ends: Ray's client ends its process
when Ray does not answer for long, and of all that runs here it alone is given the platform's key.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from logging.handlers import RotatingFileHandler

from rayllm.errors import InputError
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.endings import why_ended
from rayllm_backend_cai.node.keeper import Keeper
from rayllm_backend_cai.node.notes import Notes
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.records import Watched
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.shared import HeadRecord
from rayllm_backend_cai.workspace import Workspace

TICK_S = 1.0
_LOG_BYTES = 1 << 20
log = logging.getLogger("rayllm.cai.keeper")


def main() -> int:
    """Keep the workers until asked to stop, or until another head has started; returns the exit status."""
    pod, stopping = Pod.of(os.environ), Stopping()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    _log_to(pod)
    try:
        workspace = Workspace.find()
    except InputError as error:
        notes = Notes(pod.folder)
        notes.trouble(": ".join(filter(None, [error.message, error.cause])), time.time(), stuck=True)
        notes.save()
        return 1
    where = Watched(HeadRecord, pod.head)
    head = where.look()
    if head is None or head.address != pod.address:
        log.warning("this pod is not the head")
        return 1
    from rayllm_backend_cai.node.ray_view import RayView  # which takes a second or two

    with CaiClient(workspace) as client:
        ray = RayView(f"{head.address}:{head.gcs_port}")
        keeper = Keeper(pod.folder, workspace.project, client, ray, why=why_ended)
        while not stopping.wait(TICK_S):
            if (now := where.look()) and now.epoch != head.epoch:
                log.info("another head has started")
                return 0
            keeper.tick()
    return 0


def _log_to(pod: Pod) -> None:
    """Log to the project's disk, where the operator finds it."""
    pod.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    to_disk = RotatingFileHandler(pod.logs / "keeper.log", maxBytes=_LOG_BYTES, backupCount=1)
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[to_disk, logging.StreamHandler()])
    logging.getLogger("httpx").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
