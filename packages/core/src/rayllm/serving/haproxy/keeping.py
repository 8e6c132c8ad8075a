"""The owner's side of the keeper: starting one, finding one whose owner died, hearing of deaths."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rayllm.errors import ClusterError
from rayllm.serving.haproxy import keeper
from rayllm.serving.haproxy.places import KEEPER_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.sockets import connected
from rayllm.serving.processes.supervised import OWNER, sweep
from rayllm.serving.spec import GATEWAY_APP, app_name

OWNERLESS_S = 60.0
"""Seconds for which HAProxy serves on without a gateway."""
_ANSWER_S = 10.0
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Inherited:
    """Open files for the HAProxies and their keeper."""

    out: IO[bytes]
    err: IO[bytes]
    claim: IO[str]
    """Only held, by the keeper."""


class Keeping:
    """A keeper that is ours until `stop`, or until this process ends. Safe to use from several threads.

    Attributes:
        run_dir: where its HAProxies run.
    """

    def __init__(self, run_dir: Path, line: socket.socket, marker: str) -> None:
        line.setblocking(False)
        self.run_dir = run_dir
        self._line = line
        self._marker = marker
        self._lock = threading.Lock()
        self._heard = b""
        self._ended = False

    @classmethod
    def start(
        cls,
        run_dir: Path,
        haproxy: str,
        configs: Sequence[str],
        host: str,
        port: int,
        *,
        deployment: str,
        predecessor: Path | None,
        node: int,
        inherited: Inherited,
    ) -> Keeping:
        """Start one.

        Args:
            run_dir: folder with everything that the HAProxies need.
            haproxy: the program.
            configs: names of the configurations, one for each HAProxy; the first is the front door.
            host: where that listens, as `adopt` wants it.
            port: likewise.
            deployment: whose it is.
            predecessor: folder of a gateway of the deployment whose HAProxy hands its port over.
            node: process with which all ends; 0 for none.
            inherited: what they write to, and what is held as long as they run.

        Raises:
            ClusterError: it does not start.
        """
        marker = _marker(deployment, run_dir)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                keeper.__name__,
                str(OWNERLESS_S),
                str(node),
                kind_of(host, port),
                f"../{predecessor.name}/{RUNTIME_SOCKET}" if predecessor else "",
                haproxy,
                *configs,
            ],
            env={"PATH": os.defpath, "PYTHONPATH": str(_ROOT), OWNER: marker},
            cwd=run_dir,
            stdin=subprocess.DEVNULL,
            stdout=inherited.out,
            stderr=inherited.err,
            pass_fds=[inherited.claim.fileno()],
            start_new_session=True,
            check=False,
        )
        try:
            line = connected(run_dir, KEEPER_SOCKET, _ANSWER_S)
        except OSError as error:
            what = f"the keeper of the gateway's HAProxy ended with status {done.returncode}"
            raise ClusterError(what, cause=str(error), topic="gateway") from error
        return cls(run_dir, line, marker)

    @classmethod
    def adopt(cls, run_dir: Path, host: str, port: int, *, deployment: str) -> Keeping | None:
        """Own the keeper in this folder from now on; None if there is none.

        One that listens elsewhere, or is of other code, takes no more connections from now on, and ends by itself.
        """
        try:
            line = connected(run_dir, KEEPER_SOCKET, _ANSWER_S)
        except OSError:
            return None
        with contextlib.ExitStack() as stack:
            stack.enter_context(line)
            said = b""
            while not said.endswith(b"\n") and (more := line.recv(4096)):
                said += more
            if said == f"mine {kind_of(host, port)}\n".encode():
                stack.pop_all()
                return cls(run_dir, line, _marker(deployment, run_dir))
            if said.startswith(b"mine"):
                line.sendall(b"drain\n")
        return None

    def alive(self) -> bool:
        """Whether it runs."""
        return not self._hear(0)

    def wait(self, timeout_s: float) -> bool:
        """Wait until one of its HAProxies or itself ends, at most `timeout_s` seconds; whether it has ended."""
        return self._hear(timeout_s)

    def deaths(self) -> list[str]:
        """HAProxies that ended since the last call: `CONFIG STATUS` of each."""
        self._hear(0)
        with self._lock:
            *lines, self._heard = self._heard.split(b"\n")
        words = [line.decode().partition(" ") for line in lines]
        return [rest for word, _, rest in words if word == "ended"]

    def drain(self) -> None:
        """Take no more connections; the keeper ends with its last one."""
        self._say("drain")

    def stop(self) -> None:
        """End it and everything it keeps; returns when all of it is gone.

        Raises:
            RayllmError: the kernel does not let a process go.
        """
        self._say("stop")
        end = time.monotonic() + _ANSWER_S
        while not self._hear(0.1) and time.monotonic() < end:
            pass
        sweep(self._marker)  # it may have been killed, and then left a worker behind
        self._line.close()

    def _say(self, word: str) -> None:
        with contextlib.suppress(OSError):
            self._line.sendall(word.encode() + b"\n")

    def _hear(self, timeout_s: float) -> bool:
        """Take down what it says, waiting for it; whether it has ended."""
        watch = select.poll()  # select.select can't take descriptors from 1024 up
        try:
            watch.register(self._line, select.POLLIN)
            watch.poll(0 if self._ended else timeout_s * 1000)
            with self._lock:
                while said := self._line.recv(4096):
                    self._heard += said
            self._ended = True
        except BlockingIOError:  # that was all for now
            pass
        except (OSError, ValueError):  # closed
            self._ended = True
        return self._ended


def kind_of(host: str, port: int) -> str:
    """What two gateways of a deployment have in common if one can go on with the other's HAProxies."""
    code = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("\0".join([host, str(port), *code]).encode()).hexdigest()[:16]


def _marker(deployment: str, run_dir: Path) -> str:
    return f"{app_name(deployment, GATEWAY_APP)}/{run_dir.name}"
