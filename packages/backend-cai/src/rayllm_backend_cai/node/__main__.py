"""`python -m rayllm_backend_cai.node`: what `run.py` starts in a pod."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from rayllm.errors import RayllmError
from rayllm_backend_cai.node import ports
from rayllm_backend_cai.node.door import HealthDoor
from rayllm_backend_cai.node.head import Head
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.records import Own
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.node.worker import Worker


def main() -> None:
    """Run the node of this pod until it is asked to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    environ = dict(os.environ)
    pod = Pod.of(environ)
    stopping = Stopping()
    stopping.listen()
    pod.make_local()
    os.environ["RAYLLM_RUN"] = str(pod.run)  # where this process's own locks are
    own = Own(pod)
    try:
        _serve(pod, environ, stopping, own)
    except RayllmError as error:  # `run.py` tries again
        own.note("failed", str(error))
        raise SystemExit(str(error)) from error
    pod.remove_local()


def _serve(pod: Pod, environ: Mapping[str, str], stopping: Stopping, own: Own) -> None:
    if pod.task == "head":
        Head(pod, environ, stopping, own).run()
    else:
        with HealthDoor(ports.for_application(pod.ports), lambda: own.record):
            Worker(pod, environ, stopping, own).run()


if __name__ == "__main__":
    main()
