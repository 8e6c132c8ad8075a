"""What tests of whole deployments share: the command line as a person runs it, and OpenAI's client as its users do."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

Found = TypeVar("Found")
PORTS = range(30100, 32700)
LOCKS = Path(tempfile.gettempdir(), "rayllm-test-ports")
HELD: deque[int] = deque()
"""Locks of the ports that were given away last: the earlier ones are listened on by now, or are no longer needed."""
MOST_HELD = 500


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that nobody else is given meanwhile.

    It is none of those that Linux gives to connections, nor of Ray's or RayLLM's own; other programs that run tests see
    by its lock that it is taken.
    """
    LOCKS.mkdir(exist_ok=True)
    for port in random.sample(PORTS, len(PORTS)):
        lock = os.open(LOCKS / str(port), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
        else:
            HELD.append(lock)
            if len(HELD) > MOST_HELD:
                os.close(HELD.popleft())
            return port
    raise AssertionError(f"every port of {PORTS} is taken")


def until(what: str, look: Callable[[], Found], seconds: float) -> Found:
    """Look until there is something to see, and return it; `what` names it in a failure."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


def marked(home: Path) -> list[int]:
    """Processes that were started with this RAYLLM_HOME or work in it (as HAProxy does), the tests' own aside."""
    wanted = f"RAYLLM_HOME={home}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            place = (folder / "cwd").readlink()
        except OSError:
            continue  # gone meanwhile, or another user's
        if wanted in environ or place.is_relative_to(home):
            found.append(int(folder.name))
    return found


def default_signals() -> None:
    """Let a child be interrupted also where what runs the tests ignores these signals, as nohup does."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def command_of(pid: int) -> str:
    """A process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@dataclass
class Rayllm:
    """The command line in a folder of its own, with a RAYLLM_HOME of its own."""

    folder: Path
    home: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command."""
        return {**os.environ, "RAYLLM_HOME": str(self.home), "PYTHONWARNINGS": "default"}

    @property
    def python(self) -> Path:
        """The interpreter of every command."""
        return Path(sys.executable)

    def write(self, text: str) -> None:
        """Write rayllm.yaml."""
        (self.folder / "rayllm.yaml").write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and let it run."""
        return subprocess.Popen(
            [str(self.python), "-m", "rayllm", *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=default_signals,  # noqa: PLW1509
        )

    def __call__(self, *arguments: str, status: int = 0, seconds: float = 120) -> str:
        """Run a command that ends with `status`; returns stdout and stderr."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"rayllm {' '.join(arguments)} took more than {seconds:g} s\n{out}{err}")
        said = out + err
        assert process.returncode == status, f"rayllm {' '.join(arguments)} ended with {process.returncode}\n{said}"
        return said

    def json(self, *arguments: str) -> Any:
        """Run a command with --json; returns what it prints on stdout, however it ends."""
        out, err = self.start(*arguments, "--json").communicate(timeout=60)
        assert out, err
        return json.loads(out)

    def is_ready(self) -> bool:
        """Whether `status` is content."""
        process = self.start("status")
        process.communicate(timeout=60)
        return process.returncode == 0


@pytest.fixture(scope="module")
def rayllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rayllm]:
    """A command line whose deployment is taken down at the end, with nothing left behind."""
    folder = tmp_path_factory.mktemp("rayllm")
    shared = os.environ.get("RAYLLM_TEST_HOME")
    runner = Rayllm(folder, Path(shared) if shared else folder / "home")
    yield runner
    if (folder / "rayllm.yaml").exists():
        runner("down", "--yes")
    until("every process is gone", lambda: not marked(runner.home), 15)
