"""The background service of a local cluster: starts its nodes, and starts again what dies.

SIGTERM ends it and all its nodes; so does its death, since every node runs under a reaper.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

from rayllm.serving import ray_dashboard
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.processes.ports import hold_port
from rayllm.serving.processes.supervised import Supervised
from rayllm_backend_local import ray_command
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.processes import identity
from rayllm_backend_local.state import Folder, last_lines

START_S = 180.0
"""Seconds that the nodes may take to join: on a machine ten times overloaded it was 75."""
STEADY_S = 60.0
"""A head that lived longer is started again at once, after several short lives there is a pause that doubles."""
LONGEST_PAUSE_S = 30.0
WORKER_PAUSE_S = 5.0
"""Seconds between two starts of a worker."""
GRACE_S = 5.0
HEAD = 0
"""The head's number; workers count from 1."""
_POLL_S = 0.1

log = logging.getLogger("rayllm.local")


class NodeEndedError(Exception):
    """A node ended, or did not come up."""


class Supervisor:
    """Keeps one cluster's head and workers running."""

    def __init__(self, folder: Folder) -> None:
        state, wanted = folder.state(), folder.wanted()
        if state is None or wanted is None:
            raise FileNotFoundError(folder.path)
        self._folder = folder
        self._options = LocalOptions(**wanted.options)
        # Held until this process ends, so that no other cluster or engine of ours takes them.
        self._ports = [hold_port() for _ in range(4)]
        gcs, head, metrics, serve = (port.number for port in self._ports)
        self._state = replace(
            state,
            supervisor=identity(os.getpid()) or "",
            gcs_port=gcs,
            dashboard_port=head,
            metrics_port=metrics,
            serve_port=serve,
        )
        self._environ = ray_command.environ(folder, self._state, clean_environ())
        self._cores = len(os.sched_getaffinity(0))
        self._nodes: dict[int, Supervised] = {}
        self._started: dict[int, float] = {}
        self.stopping = threading.Event()

    def run(self) -> int:
        """Serve until asked to stop; returns the exit status."""
        self._note("starting", "starting Ray")
        was_ready, short_lives = False, 0
        while not self.stopping.wait(min(LONGEST_PAUSE_S, 2.0 ** (short_lives - 2)) if short_lives > 1 else 0):
            began = time.monotonic()
            try:
                self._live()
            except (NodeEndedError, OSError) as problem:
                was_ready = was_ready or self._state.stage == "ready"
                log.warning("%s", problem)
                if not was_ready:
                    self._note("failed", str(problem))
                    return 1
                self._note("starting", str(problem).partition("\n")[0] + " and is being started again")
            finally:
                self._stop()
            short_lives = 0 if time.monotonic() - began > STEADY_S else short_lives + 1
        return 0

    def _live(self) -> None:
        """One life of the head."""
        since = time.time()
        self._start(HEAD)
        self._await_nodes(1, since)
        workers = range(1, self._options.nodes)
        for number in workers:
            self._start(number)
        self._await_nodes(self._options.nodes, since)
        if not self.stopping.is_set():
            self._note("ready", "")
        while not self.stopping.wait(_POLL_S):
            self._check_head()
            for number in workers:
                self._revive(number)

    def _revive(self, worker: int) -> None:
        """Start a worker again if it ended, unless it has only just been started."""
        status = self._nodes[worker].poll()
        if status is not None and time.monotonic() > self._started[worker] + WORKER_PAUSE_S:
            log.warning("worker %s ended with status %s and is being started again", worker, status)
            self._nodes[worker].stop(GRACE_S)
            self._start(worker)

    def _start(self, number: int) -> None:
        if number == HEAD:
            name, argv = "head", ray_command.head(self._state, self._options, self._cores)
        else:
            name, argv = f"worker-{number}", ray_command.worker(self._state, self._options, self._cores, number)
        self._started[number] = time.monotonic()
        self._nodes[number] = Supervised.start(
            argv,
            env=self._environ,
            log=self._folder.logs / f"{name}.log",
            marker=f"{self._folder.marker(self._state)}:{name}",
            grace_s=GRACE_S,
            cwd=self._folder.path,
        )

    def _await_nodes(self, count: int, since: float) -> None:
        """Wait until `count` nodes of this life are alive, or the service is to stop."""
        token = self._folder.token()
        while (alive := len(ray_dashboard.alive_nodes(self._state.dashboard_port, token, since))) < count:
            if self.stopping.wait(_POLL_S):
                return
            self._check_head()
            if time.time() > since + START_S:
                raise NodeEndedError(f"{alive} of {count} nodes came up within {START_S:g} s")

    def _check_head(self) -> None:
        if (status := self._nodes[HEAD].poll()) is not None:
            words = last_lines(self._folder.logs / "head.log")
            raise NodeEndedError(f"Ray's head ended with status {status}\n{words}")

    def _stop(self) -> None:
        with ThreadPoolExecutor(max_workers=len(self._nodes) or 1) as pool:
            for stopped in [pool.submit(node.stop) for node in self._nodes.values()]:
                stopped.result()
        self._nodes.clear()

    def _note(self, stage: Literal["starting", "ready", "failed"], reason: str) -> None:
        log.info("%s %s", stage, reason.partition("\n")[0])
        self._state = replace(self._state, stage=stage, reason=reason, since=time.time())
        self._folder.write_state(self._state)


def main() -> None:
    """Run the service for the cluster that is named on the command line, and exit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = Folder(sys.argv[1])
    os.chdir(folder.path)
    supervisor = Supervisor(folder)
    signal.signal(signal.SIGTERM, lambda *_: supervisor.stopping.set())
    sys.exit(supervisor.run())
