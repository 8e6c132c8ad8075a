"""What a gateway's processes use: processor time to the microsecond, and memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from benchmarks.deployment import family

READY_S = 120.0


class MissingError(Exception):
    """A program that can't be had here: a gateway that lacks is named in the tables, not left out."""


def cpu_us(pids: Iterable[int]) -> float:
    """Microseconds of processor time that all threads of these processes took so far, in user and kernel."""
    return sum(map(_ran_us, pids))


def resident_mib(pids: Iterable[int]) -> float:
    """MiB that these processes hold in memory, what they share counted in parts."""
    return sum(_pss_kib(pid) for pid in pids) / 1024


def everyone(roots: Iterable[int]) -> list[int]:
    """These processes and all their descendants, once each."""
    return sorted({pid for root in roots for pid in family(root)})


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, ended with the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=out, env=env, start_new_session=True)
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()  # what waits for the end of its input ends itself
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Dialogue:
    """A program that answers each line on its input with a line."""

    def __init__(self, module: str, log: Path | None = None) -> None:
        with log.open("ab") if log else nullcontext() as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
        self._log = log
        self.pid = self._process.pid

    def close(self) -> None:
        """End it, by the end of its input."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tell(self, what: object) -> str:
        """Send a line of JSON, and wait for the answer.

        Raises:
            SystemExit: the program has ended.
        """
        if self._process.stdin and self._process.stdout:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(what) + "\n")
            if answer := self._process.stdout.readline():
                return answer
        said = self._log.read_text(errors="replace")[-2000:] if self._log else "see above"
        raise SystemExit(f"{self._process.args!r} ended: {said}")


def until_answers(port: int, request: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when somebody answers this request with 200.

    Raises:
        MissingError: the process ends, or takes longer than two minutes.
    """
    end = time.monotonic() + READY_S
    while not _answers(port, request):
        if process.poll() is not None or time.monotonic() > end:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise MissingError(f"it does not start: {''.join(said)[-500:]}")
        time.sleep(0.1)


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=READY_S) as line:
            line.sendall(request)
            return line.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _ran_us(pid: int) -> float:
    """The scheduler's own count; where the kernel keeps none, clock ticks."""
    total = 0.0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1000
    except FileNotFoundError:
        return _ticked_us(pid)
    except OSError:
        return total
    return total


def _ticked_us(pid: int) -> float:
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK") * 1e6


def _pss_kib(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))
