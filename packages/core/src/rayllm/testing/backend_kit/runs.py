"""A backend's methods, each run in a process of its own as by another command, and what became of it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from rayllm.backends import Cluster, PlatformNode

How = Literal["kill", "interrupt", "hold"]
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run is stopped, and how: point 1 is before the first platform call, 2 behind it, 3 before the second."""

    at: int
    how: How = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run told before it ended."""

    stopped: int = 0
    """The point at which it was stopped; 0 where it got through."""
    ended: bool = False
    """False where it was killed."""
    cluster: Cluster | None = None
    """What the method returned."""
    returned: str = ""
    """The type of that."""
    shown: str = ""
    """Its `repr`."""
    error: Mapping[str, Any] = field(default_factory=dict)
    """The `RayllmError` that it raised: kinds, message, cause, cure."""
    interrupted: bool = False
    """Whether it raised KeyboardInterrupt."""
    crash: str = ""
    """The traceback of anything else that it raised."""
    points: int = 0
    told: Sequence[tuple[str, str, bool]] = ()
    """Step, detail and whether it is done, of every progress."""
    reached: Sequence[str] = ()
    """Audit events of reaching out of the process."""
    beside: Sequence[str] = ()
    """Those behind `open` that happened outside of every platform call."""
    exposed: Sequence[str] = ()
    """Those whose argument list had a secret in it."""
    output: str = ""
    """What it printed."""

    @property
    def words(self) -> str:
        """What a person would see of a failure."""
        error = "\n".join(filter(None, (self.error.get(key) for key in ("message", "cause", "cure"))))
        return error or self.crash or ("it was interrupted" if self.interrupted else "it ended without a word")


class Run:
    """One that goes on. Ask for its `outcome` once, in the end."""

    def __init__(self, wire: socket.socket, output: IO[bytes], bound_s: float) -> None:
        self._wire = wire
        self._output = output
        self._bound_s = bound_s
        self._end = time.monotonic() + bound_s
        self._buffer = b""
        self._told: dict[str, Any] = {}

    def held(self) -> bool:
        """Wait until it is held at its point; False if it ended without getting there."""
        self._wait("stopped", self._end)
        return "stopped" in self._told

    def is_over(self, within_s: float) -> bool:
        """Whether it ended within that time."""
        return self._wait("end", time.monotonic() + within_s)

    def go_on(self) -> None:
        """Let one go on that is held."""
        self._wire.sendall(b"!")

    def outcome(self) -> Outcome:
        """Wait for its end; one that takes too long is killed."""
        if not self._wait("end", self._end):
            os.kill(self._told["pid"], signal.SIGKILL)
            self._told["crash"] = f"it did not end within {self._bound_s:g} s, and was killed"
        self._wire.close()
        self._output.seek(0)
        with self._output as output:
            printed = output.read().decode(errors="replace")
        told = {key: value for key, value in self._told.items() if key not in {"pid", "end", "cluster"}}
        cluster = self._told.get("cluster")
        made = _cluster(cluster) if cluster else None
        return Outcome(**told, cluster=made, ended="end" in self._told, output=printed)

    def _wait(self, key: str, end: float) -> bool:
        """Wait until it tells this, or ends; False if it is late."""
        while key not in self._told and "end" not in self._told:
            if not select.select([self._wire], [], [], max(0, end - time.monotonic()))[0]:
                return False
            received = self._wire.recv(1 << 20)
            if not received:  # it was killed
                return True
            *lines, self._buffer = (self._buffer + received).split(b"\n")
            for line in lines:
                self._told |= json.loads(line)
        return True


def _cluster(told: Mapping[str, Any]) -> Cluster:
    """As the run described it."""
    return Cluster(**{**told, "nodes": [PlatformNode(**node) for node in told["nodes"]]})


class Runner:
    """Starts runs. Use it as a context manager.

    Args:
        backend: the backend's name.
        calls: the functions that reach its platform.
        bound_s: seconds that one run may take.
        folder: where each machine's home is made.
    """

    def __init__(self, backend: str, calls: Sequence[str], bound_s: float, folder: Path) -> None:
        self._backend = backend
        self._bound_s = bound_s
        self._folder = folder
        self._control, theirs = socket.socketpair()
        self._errors = (folder / "errors").open("w+b")
        program = [sys.executable, "-m", "rayllm.testing.backend_kit.process", str(theirs.fileno()), backend, *calls]
        # What the tests can import, a plugin that is not installed included, is what the process can.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with theirs:
            self._process = subprocess.Popen(
                program, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=self._errors
            )

    def __enter__(self) -> Runner:
        self._control.settimeout(_START_S)
        if self._control.recv(5) != b"ready":
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip()
            raise AssertionError(f'backend "{self._backend}" can\'t be loaded by another process:\n{words}')
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait(10)
        self._errors.close()

    def home(self, machine: str) -> Path:
        """`HOME` of the commands of a machine; RayLLM's own home is in it."""
        home = self._folder / machine
        (home / ".rayllm").mkdir(parents=True, exist_ok=True)
        return home

    def start(self, machine: str, stop: Stop | None, request: Mapping[str, Any]) -> Run:
        """Start a run on a machine."""
        home = self.home(machine)
        environ = {"HOME": str(home), "RAYLLM_HOME": str(home / ".rayllm")}
        told = {**request, "environ": environ, "stop": stop and {"at": stop.at, "how": stop.how}}
        ours, theirs = socket.socketpair()
        output = (self._folder / "output").open("w+b")
        (self._folder / "output").unlink()
        with theirs:
            socket.send_fds(self._control, [json.dumps(told).encode()], [theirs.fileno(), output.fileno()])
            if not self._control.recv(1):  # it says that it has the files
                raise AssertionError(f'the process that runs backend "{self._backend}" has ended')
        return Run(ours, output, self._bound_s)
