"""What head and worker have in common: a Ray that is started again whenever it ends."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from rayllm.errors import RayllmError
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.ray_process import RayProcess
from rayllm_backend_cai.node.records import Claim, Own
from rayllm_backend_cai.node.stopping import Stopping

START_S = 180.0
"""Seconds that Ray may take to come up."""
STEADY_S = 60.0
"""A Ray that lived longer is started again at once, after short lives there is a pause that doubles."""
LONGEST_PAUSE_S = 30.0
POLL_S = 0.5
LOOK_S = 2.0
"""Seconds between two looks at the shared disk."""

log = logging.getLogger("rayllm.cai")


class RayEndedError(Exception):
    """Ray ended, or did not come up."""


class Node(ABC):
    """Keeps the Ray of one pod running.

    Args:
        pod: this one.
        environ: its whole environment.
        stopping: set when it is to leave.
        own: what it says of itself.
    """

    def __init__(self, pod: Pod, environ: Mapping[str, str], stopping: Stopping, own: Own) -> None:
        self.pod = pod
        self.environ = environ
        self.stopping = stopping
        self.own = own
        self.ray = RayProcess(pod)
        self._claim = Claim(pod)
        self._next_look = 0.0

    @abstractmethod
    def live(self) -> None:
        """One life of Ray, until it is to stop or another one is due.

        Raises:
            RayEndedError: Ray ended, or did not come up.
            RayllmError: something else is wrong; it is tried again.
            OSError: the disk fails; it is tried again.
        """

    @abstractmethod
    def stop(self) -> None:
        """End this life's Ray."""

    def run(self) -> None:
        """Serve until asked to stop, or until a later start of the application has taken over."""
        self._claim.make()
        short = 0
        while not self.over():
            began = time.monotonic()
            try:
                self.live()
            except (RayEndedError, RayllmError, OSError) as problem:
                self.ray.keep_logs()
                self.failed(problem, short + 1)
                short = 0 if time.monotonic() - began > STEADY_S else short + 1
            else:
                short = 0
            finally:
                self.stop()
            if short and not self.over():
                self.pause(min(LONGEST_PAUSE_S, 2.0 ** (short - 1)))
        if self._claim.is_lost():
            log.warning("a later start of this application has taken over; nothing runs here any more")
            self.stopping.wait(None)

    def failed(self, problem: Exception, times: int) -> None:
        """Say what went wrong, and how often in a row."""
        log.warning("%s", problem)
        self.own.note("failed" if times > 1 else "starting", str(problem))

    def pause(self, seconds: float) -> None:
        """Wait before the next life."""
        self.stopping.wait(seconds)

    def over(self) -> bool:
        """Whether nothing should run here any more."""
        return bool(self.stopping) or self._claim.is_lost()

    def await_joined(self) -> None:
        """Wait until the node has come up.

        Raises:
            RayEndedError: it did not.
        """
        end = time.monotonic() + START_S
        while not self.ray.joined:
            self.check()
            if time.monotonic() > end:
                raise RayEndedError(f"Ray did not come up within {START_S:g} s\n{self.ray.last_words()}")
            if self.stopping.wait(POLL_S):
                return

    def check(self) -> None:
        """Look after Ray; called often.

        Raises:
            RayEndedError: it ended.
        """
        if (status := self.ray.status()) is not None:
            raise RayEndedError(f"Ray ended with status {status}\n{self.ray.last_words()}")

    def is_time_to_look(self) -> bool:
        """Whether the shared disk was not looked at for a while."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_S
        return True
