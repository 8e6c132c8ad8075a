"""The backend `local`: finds, starts and ends the background service of a cluster. Never imports Ray."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time
from dataclasses import replace
from typing import Literal

from rayllm import Cluster, ClusterBackend, ClusterError, ClusterSpec, Progress
from rayllm.backends import gateway_url
from rayllm.faults import is_full
from rayllm.serving import ray_dashboard
from rayllm.serving.haproxy.port_claim import PortClaim
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.room import require_room
from rayllm.serving.processes.file_lock import locked
from rayllm.serving.processes.supervised import OWNER
from rayllm_backend_local import leftovers, processes
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.ray_command import LOOPBACK
from rayllm_backend_local.state import Folder, State, Wanted, last_lines, write_private

# Not `-m`: that would put the folder the person stands in on the path of the modules.
# What the caller has open stays the caller's: else a lock or a pipe of its shell would be held as long as the cluster.
_SUPERVISE = (
    "import os, sys; os.closerange(3, os.sysconf('SC_OPEN_MAX')); sys.path[:] = filter(None, sys.path); "
    "from rayllm_backend_local import supervisor as s; s.main()"
)
_START_S = 200.0
_STATE_BYTES = 64 << 20
"""What a cluster writes in its first hours; one whose disk is full ends without a word."""
_POLL_S = 0.05


class LocalBackend(ClusterBackend):
    """A Ray head, and simulated workers, as a background service of this user."""

    def __init__(self, options: LocalOptions) -> None:
        self._options = options

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Start the cluster, or take the one that runs, and wait until Ray answers."""
        folder = Folder(spec.name)
        with locked(
            folder.lock, lambda detail: progress("cluster", detail), f"another command that works on {spec.name}"
        ):
            found = folder.state()
            runs = found is not None and processes.alive(found.supervisor)
            wanted = Wanted(
                gateway_host=spec.gateway_host,
                gateway_port=spec.gateway_port,
                gateway_tls=spec.gateway_tls,
                options=self._options.model_dump(),
            )
            if runs:
                _check_same(folder, wanted)
            elif found:
                progress("cluster", "clearing up what ended without being stopped")
                leftovers.clear(folder)
            if not runs:
                require_room(folder.home, _STATE_BYTES, f"the state and the logs of {spec.name}")
            for name, value in spec.secrets.items():
                write_private(folder.home / "secrets" / name, value)
            PortClaim.take(spec.name, spec.gateway_host, spec.gateway_port).release()
            folder.write_wanted(wanted)
            _await_ready(folder, found.supervisor if found and runs else _launch(folder), progress)
        cluster = self.find(spec.name)
        if cluster is None or cluster.state != "ready":
            raise ClusterError(
                f"the local cluster {spec.name} ended right after it had started",
                cause=cluster.reason if cluster else None,
                cure=f"see the logs in {folder.logs}",
                topic="local-start",
            )
        progress("cluster", "ready", done=True)
        return replace(cluster, created=not runs)

    def find(self, name: str) -> Cluster | None:
        """The cluster as it is now, from its state file and one question to its dashboard."""
        folder = Folder(name)
        state, wanted = folder.state(), folder.wanted()
        if state is None or wanted is None:
            return None
        stage, reason = _judge(folder, state)
        return Cluster(
            name=name,
            dashboard_url=f"http://{LOOPBACK}:{state.dashboard_port}",
            gateway_url=gateway_url(wanted.gateway_host, wanted.gateway_port, tls=wanted.gateway_tls),
            token=folder.token() or None,
            state=stage,
            reason=reason,
            serve_port=state.serve_port,
        )

    def destroy(self, name: str, progress: Progress) -> None:
        """End all processes of the cluster and remove its files; its logs stay until the next start."""
        folder = Folder(name)
        if not folder.entries():
            return
        with locked(folder.lock, lambda detail: progress("cluster", detail), f"another command that works on {name}"):
            progress("cluster", "stopping")
            leftovers.clear(folder)
        progress("cluster", "gone", done=True)


def _judge(folder: Folder, state: State) -> tuple[Literal["ready", "starting", "failed"], str]:
    """What a person is told about the cluster."""
    if state.stage == "failed":
        return "failed", state.reason
    if not processes.alive(state.supervisor):
        if is_full(folder.home):
            return "failed", f"its background service ended: no space is left for RayLLM's folder {folder.home}"
        return "failed", "its background service was killed, or the machine restarted; start it again"
    if state.stage == "starting":
        return "starting", f"{state.reason}, for {time.time() - state.since:.0f} s now"
    if not ray_dashboard.answers(state.dashboard_port, folder.token()):
        return "starting", "Ray's dashboard does not answer"
    return "ready", ""


def _check_same(folder: Folder, wanted: Wanted) -> None:
    before = folder.wanted()
    there = before.options if before else {}
    if there != wanted.options:
        differing = ", ".join(
            f"{key} {there.get(key)} → {value}" for key, value in wanted.options.items() if there.get(key) != value
        )
        raise ClusterError(
            f"the local cluster {folder.name} runs with other options: {differing}",
            cure="stop it first, and it starts with the new ones: rayllm down",
            topic="local-options",
        )


def _launch(folder: Folder) -> str:
    """Start the supervisor; returns its process's identity, empty if it ended at once."""
    cluster_id = secrets.token_hex(3)
    state = State(id=cluster_id, temp_dir=str(leftovers.temp_dir(cluster_id)), reason="starting", since=time.time())
    shutil.rmtree(folder.logs, ignore_errors=True)
    folder.logs.mkdir(parents=True, mode=0o700)
    folder.write_token(secrets.token_hex(32))
    folder.write_state(state)
    log = str(folder.logs / "supervisor.log")
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", _SUPERVISE, folder.name],
        {**clean_environ(), "RAYLLM_HOME": str(folder.home), OWNER: f"{folder.marker(state)}:supervisor"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,  # it stays when the terminal closes, and Ctrl-C is for the command alone
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
    )
    return processes.identity(pid) or ""


def _await_ready(folder: Folder, supervisor: str, progress: Progress) -> None:
    told, end = "", time.monotonic() + _START_S
    while (state := folder.state()) is None or state.stage != "ready":
        if state and state.reason != told and state.stage == "starting":
            progress("cluster", told := state.reason)
        ended, late = not processes.alive(supervisor), time.monotonic() > end
        if ended or late:
            state = folder.state()  # it may have told why just before it ended
            raise ClusterError(
                f"the local cluster {folder.name} did not start" + ("" if ended else f" within {_START_S:g} s"),
                cause=state.reason if state and state.stage == "failed" else last_lines(folder.logs / "supervisor.log"),
                cure=f"see the logs in {folder.logs}; what is left goes with: rayllm down",
                topic="local-start",
            )
        time.sleep(_POLL_S)
