"""A job on the cluster that does something on many nodes at once, and holds no CPU and no GPU for it.

    python -m rayllm.serving.prepare.job '{"module": …, "nodes": {NODE: {…}, …}}'

Ray's dashboard starts it on the head node (`rayllm.cluster.jobs_api`). On each node it runs `python -m MODULE '{…}'`
under a reaper, so that nothing of it outlives the job, and prints the lines of JSON that this prints, with the node's
id. Whatever else is printed is somebody else's.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayllm.serving.processes.supervised import Supervised

LOOK_S = 0.1
KEPT_LINES = 15
GRACE_S = 5.0
"""Seconds that what runs on a node may take to end once the job is stopped."""


def main(asked: str) -> None:
    """Work on all nodes side by side, until each is through."""
    job = json.loads(asked)
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    saying = threading.Lock()

    def follow(node: str, told: dict[str, Any]) -> None:
        for line in _from(node, job["module"], told):
            with saying:
                print(json.dumps({"node": node, **line}), flush=True)  # noqa: T201 - what the operator's side reads

    threads = [threading.Thread(target=follow, args=item, daemon=True) for item in job["nodes"].items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _from(node: str, module: str, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a node says; its last line is `{"end": STATUS}`, or why there is none."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    work = ray.remote(num_cpus=0, max_retries=0, num_returns="streaming", scheduling_strategy=there)(_work)
    lines = work.remote(module, json.dumps(told))
    try:
        for line in lines:
            yield ray.get(line)
    except RayError as error:
        yield {"end": 1, "words": f"the node was lost: {str(error).strip().splitlines()[0]}"}


def _work(module: str, told: str) -> Iterator[dict[str, Any]]:
    """Run the module on this node; yields the objects that it prints, one a line."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory(prefix="rayllm-job-") as folder:
        log = Path(folder, "log")
        argv = [sys.executable, "-m", module, told]
        process = Supervised.start(argv, env=environ, log=log, marker=f"{module}:{os.getpid()}", grace_s=GRACE_S)
        stray: list[str] = []
        with log.open(errors="replace") as lines:
            for line in _lines(lines, process):
                try:
                    yield dict(json.loads(line))
                except (ValueError, TypeError):
                    stray.append(line.rstrip())
        process.stop()
        yield {"end": process.wait(), "words": "\n".join(stray[-KEPT_LINES:])}


def _lines(file: Any, process: Supervised) -> Iterator[str]:
    """Whole lines as they are written, until the process has ended."""
    kept = ""
    while True:
        ended = process.poll() is not None
        while line := file.readline():
            kept += line
            if kept.endswith("\n"):
                yield kept
                kept = ""
        if ended:
            break
        time.sleep(LOOK_S)
    if kept:
        yield kept


if __name__ == "__main__":
    main(sys.argv[1])
