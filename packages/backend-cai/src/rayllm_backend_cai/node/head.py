"""The head: Ray's own records, the dashboard and the gateway are on this node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack

from rayllm.serving import ray_dashboard
from rayllm.serving.haproxy.door import Door
from rayllm.serving.processes.ports import hold_port
from rayllm_backend_cai.node import environ as environments
from rayllm_backend_cai.node import ports, ray_command, storage
from rayllm_backend_cai.node.keeping import Keeping
from rayllm_backend_cai.node.node import LOOK_S, POLL_S, START_S, Node, RayEndedError
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.records import Own, Watched
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.shared import HeadRecord, Wanted

GRACE_S = 5.0
_REST_S = 1.0
"""For what is left of a Ray that ended: nothing of it is of use any more."""


class Head(Node):
    """Keeps Ray's head.

    Args:
        pod: this one.
        environ: its whole environment.
        stopping: set when it is to leave.
        own: what it says of itself.

    Raises:
        ClusterError: the application's ports are taken.
    """

    def __init__(self, pod: Pod, environ: Mapping[str, str], stopping: Stopping, own: Own) -> None:
        super().__init__(pod, environ, stopping, own)
        self._listen = ports.for_application(pod.ports)
        self._wanted = Watched(Wanted, *pod.wanted)
        self._keeping = Keeping(pod, environ)
        # Held as long as it runs, so that no other program of ours takes them; a Ray that starts again in this
        # pod is where the last one was, and workers find it there by themselves.
        self._held = hold_port(), hold_port()
        self._dashboard, self._metrics = (port.number for port in self._held)
        self._gcs = ports.for_gcs(pod.address)

    def run(self) -> None:
        """Serve until asked to stop, or until a later start of the application has taken over.

        Raises:
            ClusterError: there is nothing to answer with on the application's port.
        """
        listen, shown = (ports.LOOPBACK, self._listen), (ports.LOOPBACK, self._dashboard)
        door = Door(self.pod.local, listen, shown, self.pod.cluster)
        with ExitStack() as stack:
            for port in self._held:
                stack.callback(port.release)
            door.start()
            stack.callback(door.stop)
            super().run()

    def live(self) -> None:
        """One life of Ray's head, while no other pod has Ray's records."""
        if (lock := self._await_storage()) is None:
            return
        with lock:
            try:
                if (wanted := self._await_wanted()) is not None:
                    self._live(wanted)
            finally:
                self.stop()  # before the lock goes

    def stop(self) -> None:
        """End Ray's head; what is deployed stays in its records."""
        if self.stopping:
            self.own.note("leaving", "the platform stops the application")
        self._keeping.stop()
        self.ray.stop(GRACE_S)

    def _live(self, wanted: Wanted) -> None:
        since = time.time()
        self.own.note("starting", f"starting Ray; the application listens on port {self._listen}")
        token = storage.make_token(self.pod.token)
        storage.keep_private(self.pod.home / "secrets")
        argv = ray_command.head(self.pod, wanted.head, gcs_port=self._gcs, dashboard_port=self._dashboard)
        told = environments.of_head(self.pod, listen=self._listen, dashboard=self._dashboard, metrics=self._metrics)
        self.ray.start(argv, environments.of_ray(self.pod, self.environ, told), _REST_S)
        self.await_joined()
        if self.stopping:
            return
        self._write_head()
        self._await_ray(token, since)
        if self.stopping:
            return
        self.own.note("ready", f"the application listens on port {self._listen}")
        while not self.stopping.wait(POLL_S):
            self.check()
            if self.is_time_to_look():
                if self.over():
                    return
                storage.keep_private(self.pod.home / "secrets")
                self._keeping.tick()

    def _await_storage(self) -> AbstractContextManager[object] | None:
        """The lock of Ray's records; None if it is not to start any more."""
        while not self.over():
            if (lock := storage.lock(self.pod.storage)) is not None:
                return lock
            self.own.note("waiting", "an earlier start of this application still runs and was told to end")
            self.stopping.wait(LOOK_S)
        return None

    def _await_wanted(self) -> Wanted | None:
        while not self.over():
            if (wanted := self._wanted.look()) is not None:
                return wanted
            self.own.note("waiting", "there is no wanted.json")
            self.stopping.wait(LOOK_S)
        return None

    def _await_ray(self, token: str, since: float) -> None:
        """Wait until Ray answers and lists the head's own node.

        Raises:
            RayEndedError: it does not.
        """
        while self.pod.node not in ray_dashboard.alive_nodes(self._dashboard, token, since):
            self.check()
            if time.time() > since + START_S:
                raise RayEndedError(f"Ray did not answer within {START_S:g} s\n{self.ray.last_words()}")
            if self.stopping.wait(POLL_S):
                return

    def _write_head(self) -> None:
        before = Watched(HeadRecord, self.pod.head).look()
        HeadRecord(
            epoch=secrets.token_hex(8),
            address=self.pod.address,
            gcs_port=self._gcs,
            serve_port=before.serve_port if before else ports.spare(),
            since=time.time(),
        ).write(self.pod.head)
