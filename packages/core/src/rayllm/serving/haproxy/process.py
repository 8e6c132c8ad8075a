"""The gateway's HAProxy as a process: started, given new configurations without a cut, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.serving.haproxy import counters, door, runtime, sockets
from rayllm.serving.haproxy.binary import binary
from rayllm.serving.haproxy.config import files, render
from rayllm.serving.haproxy.keeping import Inherited, Keeping
from rayllm.serving.haproxy.places import CONFIG_FILE, DOOR, LARGE_SOCKET, MASTERS, NEXT_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.port_claim import PortClaim
from rayllm.serving.haproxy.view import GatewayView
from rayllm.serving.spec import route_prefix

_START_S = 20.0
_BACK_S = 5.0
_CHECK_S = 30.0
_LINGER_S = 0.5
"""Seconds for the first request over connections that were made just before a successor took over."""
_LAST_LINES = 20
_LOG_LIMIT = 16 << 20
"""Bytes of the log; once as much again is kept of what came before."""


class HAProxy:
    """One gateway's HAProxy. Methods block; they may be called from any thread.

    Args:
        log: file that HAProxy's messages and the requests that went wrong are appended to: its standard error.
        access: file with a line for each request: its standard output.
        keeping: what keeps it already, taken over from a gateway that died.
        node: process with which it ends, though its owner may not: Ray's own on this node; 0 for none.
        remembered: what keys have asked for lately, by `KEY/MINUTE`: one that starts anew has to be told, since what
            it counts dies with it.
    """

    def __init__(
        self,
        log: Path,
        access: Path,
        keeping: Keeping | None = None,
        node: int = 0,
        remembered: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._log = log
        self._access = access
        self._node = node
        self._lock = threading.RLock()
        self._keeping = keeping
        self._claim: PortClaim | None = None
        self._running: dict[str, str] = {}
        self._leaving = set[str]()
        self._remembered = remembered
        self._untold: Mapping[str, int] = {}

    @property
    def adopted(self) -> bool:
        """Whether it runs with what another gateway told it."""
        return self._keeping is not None and not self._running

    def start(self, view: GatewayView) -> None:
        """Start it, or start it again after it ended; returns when it takes connections.

        Raises:
            ClusterError: the port is taken, or HAProxy refused the configuration or ended; its own words are the cause.
        """
        with self._lock:
            self._end(0)
            self._claim = self._claim or PortClaim.take(view.deployment, view.host, view.port)
            self._untold = self._remembered()
            predecessor = next(_others(view.run_dir, RUNTIME_SOCKET), None)
            try:
                self._launch(view, self._claim, predecessor)
            except BaseException:
                self.stop(0)
                raise
            if predecessor:
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    self._untold = {**counters.counted(predecessor), **self._untold}
            self._remind(view.run_dir)

    def apply(self, view: GatewayView) -> None:
        """Make it serve this view: nothing happens if it does, and no request in flight is cut if not.

        Replicas and entries of maps change in the process that runs, everything else with a reload: requests in flight
        finish on the old worker. Where nobody keeps a HAProxy it is started. After an error the one that runs goes on
        with what it had.

        Raises:
            ClusterError: HAProxy refused the configuration or ended; its own words are the cause.
        """
        with self._lock:
            if not self.alive():
                self.start(view)
                return
            wanted = _contents(view)
            before = self._running or _read(view.run_dir, wanted)
            if wanted != before:
                _write(view.run_dir, before, wanted)
                if not self._change(view.run_dir, before, wanted):
                    self._reload(view, before, wanted)
            self._running = wanted

    def alive(self) -> bool:
        """Whether it is kept running. Called now and then, it also clears up: the log, replicas that are gone."""
        _rotate(self._log)
        keeping = self._keeping
        if keeping is None or not keeping.alive():
            return False
        if self._leaving and self._lock.acquire(blocking=False):
            with contextlib.suppress(OSError):
                self._leaving = runtime.forget(keeping.run_dir, self._leaving)
            self._lock.release()
        return True

    def wait(self, timeout_s: float) -> list[str]:
        """Wait until something dies, at most `timeout_s` seconds; returns which HAProxies did: `CONFIG STATUS`.

        They are started again without our doing; only where nobody keeps them any more (see `alive`) they are not.
        After the death of the front door it takes until the next one answers and knows what was counted, at most a few
        seconds longer.
        """
        keeping = self._keeping
        if keeping is None:
            return []
        keeping.wait(timeout_s)
        deaths = keeping.deaths()
        if any(death.startswith(f"{CONFIG_FILE} ") for death in deaths):
            # Now, before the next one serves: what that counts itself will stand in the same log.
            self._untold = self._remembered()
        self._remind(keeping.run_dir)
        return deaths

    def stop(self, drain_s: float = 10.0) -> None:
        """Take no more connections, let requests in flight finish for at most `drain_s` seconds, and end."""
        with self._lock:
            self._end(drain_s)
            if self._claim:
                self._claim.release()
                self._claim = None

    def _launch(self, view: GatewayView, claim: PortClaim, predecessor: Path | None) -> None:
        view.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        view.run_dir.chmod(0o700)
        program, wanted = _program(view), _contents(view)
        _write(view.run_dir, {}, wanted)
        self._access.touch(0o600)
        configs = [config for config in MASTERS if config in wanted]
        for config in configs:
            _check(view.run_dir, config)
        with self._access.open("ab") as out, self._log.open("ab") as err:
            before = err.tell()
            self._keeping = Keeping.start(
                view.run_dir,
                program,
                configs,
                view.host,
                view.port,
                deployment=view.deployment,
                predecessor=predecessor,
                node=self._node,
                inherited=Inherited(out, err, claim.lock),
            )
        end = time.monotonic() + _START_S
        while not (sockets.serves(view.run_dir) and sockets.accepts(view.run_dir, LARGE_SOCKET)):
            deaths = self._keeping.deaths()
            if deaths or not self._keeping.alive() or time.monotonic() > end:
                what = f"ended with status {deaths[0].split()[1]}" if deaths else "does not answer"
                raise ClusterError(f"the gateway's HAProxy {what}", cause=_tail(self._log, before), topic="gateway")
            time.sleep(0.02)
        self._running = wanted

    def _remind(self, run_dir: Path) -> None:
        """Tell one that was started anew what was counted before; while it does not answer that is left to a next call.

        Not in the middle of a reload, which hands over what there is.
        """
        if self._untold:
            with self._lock, contextlib.suppress(OSError):
                if _until(lambda: sockets.serves(run_dir), _BACK_S):
                    counters.count(run_dir, self._untold)
                    self._untold = {}

    def _change(self, run_dir: Path, before: dict[str, str], wanted: dict[str, str]) -> bool:
        """Tell the process that runs; False if it has to be reloaded."""
        change = runtime.change(before, wanted)
        with contextlib.suppress(OSError):
            if change and runtime.tell(run_dir, change.commands):
                self._leaving |= change.leaving
                return True
        return False

    def _reload(self, view: GatewayView, before: dict[str, str], wanted: dict[str, str]) -> None:
        others = {config: master for config, master in MASTERS.items() if config != CONFIG_FILE}
        try:
            for config, master in others.items():
                if wanted.get(config) != before.get(config):
                    sockets.reload_master(view.run_dir, master)
            with counters.handed_over(view.run_dir):
                sockets.reload(view.run_dir, view.host, view.port)
        except ClusterError:
            _write(view.run_dir, wanted, before)
            raise
        except OSError as error:
            # It has just died, and its keeper starts it with what was written; or it hangs.
            if not _until(lambda: sockets.serves(view.run_dir), _BACK_S):
                raise ClusterError("HAProxy's master process does not answer", cause=str(error)) from error
        self._leaving.clear()

    def _end(self, drain_s: float) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        if drain_s and keeping.alive():
            if all(other.name == DOOR for other in _others(keeping.run_dir, NEXT_SOCKET)):
                door.call(keeping.run_dir)
            lingers = time.monotonic() + (_LINGER_S if _hand_over(keeping.run_dir) else 0)
            keeping.drain()
            _until(
                lambda: not keeping.alive() or (time.monotonic() > lingers and not sockets.busy(keeping.run_dir)),
                drain_s,
            )
        keeping.stop()


def _hand_over(run_dir: Path) -> bool:
    """Send what still comes over open connections to the deployment's next gateway, or its door, if there is one."""
    for folder in _others(run_dir, NEXT_SOCKET):
        draft = run_dir / f"{NEXT_SOCKET}.new"
        draft.symlink_to(folder / NEXT_SOCKET)
        draft.replace(run_dir / NEXT_SOCKET)
        return True
    return False


def _others(run_dir: Path, name: str) -> Iterator[Path]:
    """Folders of the deployment's other gateways, last its door, where somebody listens on this socket itself."""
    for folder in sorted(run_dir.parent.iterdir(), key=lambda folder: folder.name == DOOR):
        if folder != run_dir and not (folder / name).is_symlink() and sockets.accepts(folder, name):
            yield folder


def _program(view: GatewayView) -> str:
    """HAProxy's path; who has none is told of the way that is left."""
    try:
        return binary()
    except ClusterError as lack:
        url = f"http://127.0.0.1:{view.serve_port}{route_prefix(view.deployment, 'MODEL')}/v1"
        cure = (
            f"{lack.cure}. The models serve without it: on the head node at {url}, for the cluster's token as API key"
        )
        raise ClusterError(lack.message, cause=lack.cause, cure=cure, topic=lack.topic) from None


def _contents(view: GatewayView) -> dict[str, str]:
    return {**files(view), CONFIG_FILE: render(view)}


def _write(run_dir: Path, before: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Write what differs, each file whole or not at all and for this user alone; the configuration comes last."""
    for name, text in wanted.items():
        if before.get(name) != text:
            draft = run_dir / f"{name}.new"
            draft.touch(0o600)
            draft.write_bytes(text.encode())
            draft.replace(run_dir / name)


def _read(run_dir: Path, names: Iterable[str]) -> dict[str, str]:
    """What another gateway wrote; a file that is not there is left out."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = (run_dir / name).read_bytes().decode()
    return found


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in this time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _check(run_dir: Path, config: str) -> None:
    done = subprocess.run(
        [binary(), "-c", "-f", config],
        cwd=run_dir,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CHECK_S,
        check=False,
    )
    if done.returncode:
        cause = (done.stderr + done.stdout).strip()
        raise ClusterError("HAProxy refuses the gateway's configuration", cause=cause, topic="gateway")


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
