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

from rayllm.serving.clean_environ import clean_environ
from rayllm.serving.ports import hold_port
from rayllm.serving.process import Supervised
from rayllm_backend_local import dashboard, ray_command
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.processes import identity
from rayllm_backend_local.state import Folder, last_lines

START_S = 90.0
"""Seconds that the nodes may take to join."""
STEADY_S = 60.0
"""A head that lived longer is started again at once, others after a pause that doubles."""
LONGEST_PAUSE_S = 30.0
GRACE_S = 5.0
_POLL_S = 0.1

log = logging.getLogger("rayllm.local")


class NodeEndedError(Exception):
    """A node ended, or did not come up."""


class Supervisor:
    """Keeps one cluster's head and workers running."""

    def __init__(self, folder: Folder) -> None:
        state = folder.state()
        if state is None:
            raise FileNotFoundError(folder.path)
        self._folder = folder
        self._options = LocalOptions(**folder.wanted().options)
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
        self._nodes: dict[str, Supervised] = {}
        self.stopping = threading.Event()

    def run(self) -> int:
        """Serve until asked to stop; returns the exit status."""
        self._note("starting", "starting Ray")
        was_ready, pause = False, 0.0
        while not self.stopping.wait(pause):
            began = time.monotonic()
            try:
                self._live()
            except (NodeEndedError, OSError) as problem:
                was_ready = was_ready or self._state.stage == "ready"
                log.warning("%s", problem)
                if not was_ready:
                    self._note("failed", str(problem))
                    return 1
                self._note("starting", str(problem).partition("\n")[0])
            finally:
                self._stop()
            pause = 0.0 if time.monotonic() - began > STEADY_S else min(LONGEST_PAUSE_S, pause * 2 or 1.0)
        return 0

    def _live(self) -> None:
        """One life of the head."""
        self._start("head")
        self._await_nodes(1)
        workers = [f"worker {number}" for number in range(1, self._options.nodes)]
        for name in workers:
            self._start(name)
        self._await_nodes(self._options.nodes)
        self._note("ready", "")
        while not self.stopping.wait(_POLL_S):
            self._check_head()
            for name in workers:
                if (status := self._nodes[name].poll()) is not None:
                    log.warning("%s ended with status %s; starting it again", name, status)
                    self._nodes.pop(name).stop(GRACE_S)
                    self._start(name)

    def _start(self, name: str) -> None:
        command = ray_command.head if name == "head" else ray_command.worker
        self._nodes[name] = Supervised.start(
            command(self._state, self._options, self._cores),
            env=self._environ,
            log=self._folder.logs / f"{name.replace(' ', '-')}.log",
            marker=f"{self._folder.marker(self._state)}:{name.replace(' ', '-')}",
            grace_s=GRACE_S,
            cwd=self._folder.path,
        )

    def _await_nodes(self, count: int) -> None:
        end = time.monotonic() + START_S
        token = self._folder.token()
        while dashboard.alive_nodes(self._state.dashboard_port, token) < count and not self.stopping.wait(_POLL_S):
            self._check_head()
            if time.monotonic() > end:
                raise NodeEndedError(
                    f"Ray did not come up within {START_S:g} s\n{last_lines(self._folder.logs / 'head.log')}"
                )

    def _check_head(self) -> None:
        if (status := self._nodes["head"].poll()) is not None:
            raise NodeEndedError(f"Ray's head ended with status {status}\n{last_lines(self._folder.logs / 'head.log')}")

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
