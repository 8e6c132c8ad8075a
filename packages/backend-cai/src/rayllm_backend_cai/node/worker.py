"""A worker: joins the head wherever it is, and again when it is somewhere else."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from rayllm_backend_cai import shared
from rayllm_backend_cai.node import environ as environments
from rayllm_backend_cai.node import ray_command
from rayllm_backend_cai.node.node import LOOK_S, POLL_S, START_S, Node
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.records import Own, Watched
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.shared import HeadRecord, KeeperRecord, NodeRecord, Wanted, keeper_file

GRACE_S = environments.DRAIN_S + 5.0
NO_HEAD = "the head is not ready"

log = logging.getLogger("rayllm.cai")


class ElsewhereError(Exception):
    """This Ray is of no use any more where it is."""


class Worker(Node):
    """Keeps a raylet that is joined to the head."""

    def __init__(self, pod: Pod, environ: Mapping[str, str], stopping: Stopping, own: Own) -> None:
        super().__init__(pod, environ, stopping, own)
        self._head = Watched(HeadRecord, pod.head)
        self._heads_own = Watched(NodeRecord, pod.record.with_name(f"{shared.head_name(pod.cluster)}.json"))
        self._wanted = Watched(Wanted, *pod.wanted)
        self._keeper = Watched(KeeperRecord, keeper_file(pod.folder))
        self._at: HeadRecord | None = None
        self._began = time.monotonic()

    def live(self) -> None:
        """Join the head and stay, until there is another."""
        found = self._await_head()
        if found is None:
            return
        self._at, wanted = found
        where = f"the head at {self._at.address}:{self._at.gcs_port}"
        self.own.note("starting", f"joining {where}")
        argv = ray_command.worker(self.pod, wanted.groups[self.pod.group], self._at)
        env = environments.of_ray(self.pod, self.environ, environments.of_worker(self.pod))
        try:
            self.ray.start(argv, env, GRACE_S)
            self.await_joined()
            if not self.stopping:
                self.own.note("ready", f"joined {where}")
            while not self.stopping.wait(POLL_S):
                self.check()
        except ElsewhereError as news:
            log.warning("%s", news)

    def check(self) -> None:
        """Look after Ray, and after where it belongs."""
        super().check()
        if self.is_time_to_look():
            if self.over():
                raise ElsewhereError("another pod is this node now")
            if self._has_moved():
                raise ElsewhereError("the head is somewhere else now")

    def stop(self) -> None:
        """Leave the cluster; where its head is gone there is nobody to hand work on to."""
        if self.stopping:
            self.own.note("leaving", "the platform stops the application")
        self.ray.stop(0.0 if self._has_moved() else GRACE_S)

    def failed(self, problem: Exception, times: int) -> None:
        """Tell a node that broke from one that has no head."""
        if self._joinable() is None:
            log.warning("%s", problem)
            self.own.note("waiting", NO_HEAD)
        else:
            super().failed(problem, times)

    def pause(self, seconds: float) -> None:
        """Wait before the next try; a head that is somewhere else is tried at once."""
        end = time.monotonic() + seconds
        while not self.over() and not self._has_moved() and (left := end - time.monotonic()) > 0:
            self.stopping.wait(min(left, LOOK_S))

    def _await_head(self) -> tuple[HeadRecord, Wanted] | None:
        """Where the head is and what this node should be; None if it is not to join any more."""
        while not self.over():
            at, wanted = self._joinable(), self._wanted.look()
            if wanted is None or self.pod.group not in wanted.groups:
                self.own.note("waiting", f"wanted.json has no group {self.pod.group}")
            elif why := self._must_go():
                self.own.note("leaving", why)
            elif at is None or not self.pod.token.exists():
                self.own.note("waiting", NO_HEAD)
            else:
                return at, wanted
            # Head and workers are made together: it comes soon, or not for long.
            self.stopping.wait(POLL_S if time.monotonic() < self._began + START_S else LOOK_S)
        return None

    def _must_go(self) -> str:
        """Why the head lets this worker go, whose raylet has ended for that; empty: it does not."""
        keeper = self._keeper.look()
        leaving = keeper.leaving.values() if keeper else ()
        return next((one.reason for one in leaving if one.name == self.pod.node), "")

    def _joinable(self) -> HeadRecord | None:
        """Where the head is, if it says that it is there: of a start of its own, not of an earlier one."""
        at, own = self._head.look(), self._heads_own.look()
        if at is None or own is None:
            return None
        return at if own.state == "ready" or (own.state == "starting" and own.since <= at.since) else None

    def _has_moved(self) -> bool:
        """Whether the head is somewhere else; one that started again in its place is found by Ray itself."""
        now, at = self._head.look(), self._at
        if now is None or at is None:
            return False
        return (now.address, now.gcs_port) != (at.address, at.gcs_port)
