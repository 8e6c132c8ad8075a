"""The door: what answers at a gateway's address while there is no gateway. Needs no Ray.

A platform asks an application's port from its first second on, and an operator reaches Ray's dashboard through it
before the first model is deployed. So whoever starts Ray's head has a small HAProxy there, which answers `/health`,
passes on what goes to Ray (`ingress`) and tells everybody else to come again.

Door and gateway take the same listening socket over from each other, so nobody who connects meanwhile is cut off: the
gateway finds the door's HAProxy as it finds another gateway's, and calls the door before it leaves. Of a gateway that
was killed the door hears by looking.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import IO

from rayllm.errors import ClusterError, RayllmError
from rayllm.paths import run
from rayllm.serving.haproxy import door_config, sockets
from rayllm.serving.haproxy.binary import binary
from rayllm.serving.haproxy.places import CONFIG_FILE, DOOR, DOOR_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.port_claim import PortClaim, listeners, sockets_of
from rayllm.serving.processes.file_lock import open_locked
from rayllm.serving.processes.supervised import Supervised, sweep

_LOOK_S = 0.2
_ABSENT_S = 0.5
"""How long there has to be nobody: a gateway's HAProxy that was killed is back sooner."""
_PAUSE_S = 1.0
"""After a start that failed."""
_PATIENCE_S = 3.0
"""How long a gateway may take that clears up behind a door whose process was killed."""
_START_S = 10.0
_ANSWER_S = 5.0
_LOG = "door.log"


class Door:
    """A door that stands from `start` until `stop`, or until this process ends. One thread looks after it.

    It finds the gateway in `rayllm.paths.run()`: `RAYLLM_RUN` here has to be that of Ray's processes.

    Args:
        folder: where its log `door.log` is.
        listen: the gateway's host and port.
        dashboard: host and port of Ray's dashboard, which has to ask for a token.
        deployment: whose it is.
    """

    def __init__(self, folder: Path, listen: tuple[str, int], dashboard: tuple[str, int], deployment: str) -> None:
        self._log = folder / _LOG
        self._listen = listen
        self._config = door_config.render(listen, dashboard)
        self._deployment = deployment
        self._marker = f"{deployment}--door/{listen[0]}:{listen[1]}/"
        self._place = run() / deployment / DOOR
        self._stack = contextlib.ExitStack()
        self._over = threading.Event()
        self._process: Supervised | None = None
        self._leaving: list[Supervised] = []
        self._bidden = ""
        self._seen = -math.inf
        self._due = 0.0
        self._problem: RayllmError | OSError | None = None

    def start(self) -> None:
        """Take the port, unless a gateway of this deployment has it; returns when somebody answers there.

        Raises:
            ClusterError: somebody else has the port, or there is no HAProxy, or it does not start.
            OSError: a file can't be written.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._locked())
            sweep(self._marker)  # its supervisor may have been killed together with the reaper
            stack.callback(PortClaim.take(self._deployment, *self._listen).release)
            (self._place / CONFIG_FILE).write_text(self._config, encoding="utf-8")
            bell = stack.enter_context(self._bell())
            stack.callback(self._end)
            if not self._gateway():
                self._come("")
            self._over.clear()
            thread = threading.Thread(target=self._keep, args=(bell,), name=DOOR, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._over.set)
            self._stack = stack.pop_all()

    def poll(self) -> RayllmError | OSError | None:
        """What keeps it from answering while there is no gateway; None if nothing does. It goes on trying."""
        return self._problem

    def stop(self) -> None:
        """End it, with what it answers now."""
        self._stack.close()

    def _end(self) -> None:
        for process in filter(None, [self._process, *self._leaving]):
            process.stop(0)
        self._process, self._leaving = None, []
        shutil.rmtree(self._place, ignore_errors=True)

    def _locked(self) -> IO[str]:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            if lock := open_locked(self._place / "lock"):
                if os.fstat(lock.fileno()).st_nlink:  # not one that a gateway has just cleared away
                    return lock
                lock.close()
            time.sleep(_LOOK_S)
        raise ClusterError(
            f"another process keeps the door of {self._deployment} on this node",
            cure="end that one first",
            topic="port-in-use",
        )

    def _bell(self) -> socket.socket:
        """Where gateways call."""
        (self._place / DOOR_SOCKET).unlink(missing_ok=True)
        bell = socket.socket(socket.AF_UNIX)
        try:
            with sockets.short_path(self._place) as place:
                bell.bind(f"{place}/{DOOR_SOCKET}")
            bell.listen()
        except BaseException:
            bell.close()
            raise
        return bell

    def _keep(self, bell: socket.socket) -> None:
        watch = select.poll()  # select.select can't take descriptors from 1024 up
        watch.register(bell, select.POLLIN)
        while not self._over.is_set():
            called = bool(watch.poll(_LOOK_S * 1000))
            try:
                if called:
                    self._hear(bell)
                elif time.monotonic() >= self._due:
                    self._look()
                    self._problem = None
            except (RayllmError, OSError) as problem:
                self._problem, self._due = problem, time.monotonic() + _PAUSE_S

    def _hear(self, bell: socket.socket) -> None:
        """A gateway is about to leave: come before it does."""
        caller, _ = bell.accept()
        with caller:
            caller.settimeout(_ANSWER_S)
            if name := caller.recv(256).decode(errors="replace").strip():
                self._bidden = name
                if self._alive() is None:
                    self._come(name)
                caller.sendall(b"here\n")

    def _look(self) -> None:
        for ended in [each for each in self._leaving if each.poll() is not None]:
            self._leaving.remove(ended)
            ended.stop(0)
        gateway = self._gateway()
        if process := self._alive():
            others = listeners(*self._listen) - sockets_of(process.pid)
            if gateway or (others and not self._bidden):
                self._leave(process)
        elif gateway or listeners(*self._listen):
            self._seen = time.monotonic()
        elif time.monotonic() > self._seen + _ABSENT_S:
            self._come("")

    def _alive(self) -> Supervised | None:
        if self._process and self._process.poll() is not None:
            self._process.stop(0)
            self._process, self._seen = None, -math.inf  # to be replaced at once
        return self._process

    def _gateway(self) -> str:
        """A gateway that serves, and has not said that it leaves."""
        serving = {place.name for place in self._place.parent.iterdir() if place != self._place and _serves(place)}
        self._bidden = self._bidden if self._bidden in serving else ""
        return next(iter(serving - {self._bidden}), "")

    def _leave(self, process: Supervised) -> None:
        """Take no more connections; what it has begun it ends."""
        (self._place / RUNTIME_SOCKET).unlink(missing_ok=True)  # it has no listening socket left to take over
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        self._leaving.append(process)
        self._process, self._seen = None, time.monotonic()

    def _come(self, gateway: str) -> None:
        """Listen, with the socket of the gateway in this folder where one is named."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        before = self._log.stat().st_size if self._log.exists() else 0
        process = Supervised.start(
            [binary(), "-db", "-f", CONFIG_FILE, *(["-x", f"../{gateway}/{RUNTIME_SOCKET}"] if gateway else [])],
            env={"PATH": os.defpath},
            log=self._log,
            marker=self._marker,
            cwd=self._place,
        )
        end = time.monotonic() + _START_S
        while not _serves(self._place):
            if process.poll() is not None or time.monotonic() > end:
                process.stop(0)
                said = self._log.read_bytes()[before:].decode(errors="replace").strip()
                raise ClusterError("the gateway's door does not start", cause=said or None, topic="gateway")
            time.sleep(0.01)
        self._process = process


def call(gateway: Path) -> None:
    """Have the deployment's door, if it has one, answer beside the gateway in this folder, which is about to leave."""
    door = gateway.parent / DOOR
    with contextlib.suppress(OSError), sockets.connected(door, DOOR_SOCKET, _START_S) as line:
        line.sendall(f"{gateway.name}\n".encode())
        line.recv(256)


def _serves(folder: Path) -> bool:
    """Whether a HAProxy with this folder takes connections."""
    try:
        return "Stopping: 0" in sockets.ask(folder, RUNTIME_SOCKET, "show info", _ANSWER_S)
    except OSError:
        return False
