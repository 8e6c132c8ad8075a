"""Pods: a script's real processes, with the environment, address and end that a container has."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from rayllm.serving.processes.supervised import Supervised

RUNNER = Path(__file__).with_name("runner.py")
APP, READONLY, PUBLIC = 8100, 8090, 8080
_CANNOT_START = 127
GB = 1 << 30
MEASURE_S = 0.5
"""Real seconds between looks at the memory of a pod."""
MARKER = "fake-cai"
GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_network = secrets.randbelow(180) + 64
_hosts = itertools.count(1)
_above = range(61_000, 65_536)  # Linux gives none of these to connections by itself
_start = secrets.randbelow(len(_above))
_ports = itertools.cycle((*_above[_start:], *_above[:_start]))


def new_address() -> str:
    """An address of loopback that no other pod of this process has: 127.X.Y.Z, X by chance for each process."""
    number = next(_hosts)
    return f"127.{_network}.{number // 250}.{number % 250 + 1}"


@dataclass(frozen=True)
class Ports:
    """Where a pod's ingress leads, in this order."""

    app: int = APP
    readonly: int = READONLY
    public: int = PUBLIC

    @classmethod
    def free(cls) -> Ports:
        """Three that nobody on this machine has."""
        return cls(*itertools.islice(filter(_is_free, _ports), 3))


@dataclass
class End:
    """How a pod's script ended."""

    exit_code: int
    """As of a container: 128 + N for signal N."""
    oom_killed: bool = False

    @property
    def reason(self) -> str:
        """Kubernetes' word for it."""
        return "OOMKilled" if self.oom_killed else "Error" if self.exit_code else "Completed"


@dataclass
class Pod:
    """One container: an application's, or a run's."""

    engine: str
    """The id of its engine, which other pods see in their environments."""
    address: str
    ports: Ports
    memory_gb: float
    log: Path
    """What its processes print; a person sees it in the browser alone."""
    end: End | None = None
    _process: Supervised | None = None
    _starting: asyncio.Future[Supervised] | None = None
    _oom: bool = False
    _next_measure: float = 0.0
    _held: list[socket.socket] = field(default_factory=list)

    async def start(self, python: str, script: str, folder: Path, env: Mapping[str, str], *, held: bool) -> None:
        """Run a script as the platform does.

        Args:
            python: runs it.
            script: its path below `folder`.
            folder: the project's, which stands for /home/cdsw: the working directory and HOME.
            env: the whole environment.
            held: whether the platform's launcher has the application's port.
        """
        if held:
            self._held = [_listen(host, self.ports.app) for host in (self.address, "127.0.0.1")]
        argv = [python, "-u", str(RUNNER), script]
        start = partial(Supervised.start, env=env, log=self.log, marker=MARKER, grace_s=GRACE_S, cwd=folder)
        self._starting = asyncio.ensure_future(asyncio.to_thread(start, argv))
        await asyncio.shield(self._started())  # who gives up waiting can still stop it

    async def _started(self) -> None:
        """Take the process over once it runs; one that can't be started has ended."""
        if self._starting is None:
            return
        try:
            self._process = await asyncio.shield(self._starting)
        except OSError as error:
            self.log.write_text(f"{error}\n")
            self.end = End(_CANNOT_START)

    def look(self, *, limited: bool) -> End | None:
        """How it ended, None while it runs; one that takes too much memory is killed here."""
        if self.end or self._process is None:
            return self.end
        now = time.monotonic()
        if limited and now >= self._next_measure:
            self._next_measure = now + MEASURE_S
            if self.memory() > self.memory_gb * GB:
                self.kill(oom=True)
        if (status := self._process.poll()) is not None:
            self.end = End(status if status >= 0 else 128 - status, oom_killed=self._oom)
        return self.end

    def memory(self) -> int:
        """Bytes that its processes hold each for itself; what they share is not counted, to count none of it twice."""
        return sum(_held(process) for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """Those that run, whatever session they moved to."""
        if self._process is None or self.end:
            return []
        try:
            there = psutil.Process(self._process.reaper_pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in there if _runs(process)]

    def kill(self, *, oom: bool = False) -> None:
        """Kill it as the kernel does, for lack of memory or by another hand: all that a container runs ends at once."""
        if self._process and self._process.poll() is None:
            self._oom = oom
            for process in reversed(self.processes()):  # the script last: who is left without it would be asked to end
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    async def stop(self) -> None:
        """End all its processes; returns when they are gone."""
        for holder in self._held:
            holder.close()
        await self._started()
        if self._process is not None:
            await asyncio.to_thread(self._process.stop, GRACE_S)
            self.look(limited=False)

    async def answering(self) -> tuple[str, int] | None:
        """The first address and port of the ingress's that takes a connection."""
        ports = (self.ports.app, self.ports.readonly, self.ports.public)[1 if self._held else 0 :]
        for port, host in itertools.product(ports, (self.address, "127.0.0.1")):
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                continue
            writer.close()
            return host, port
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - scripts may bind any address
        except OSError:
            return False
        return True


def _runs(process: psutil.Process) -> bool:
    """False of one that has ended, whether or not its parent has asked how."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _held(process: psutil.Process) -> int:
    try:
        told = process.memory_info()
        return int(told.rss - told.shared)
    except psutil.Error:
        return 0  # gone meanwhile


def _listen(host: str, port: int) -> socket.socket:
    holder = socket.socket()
    holder.bind((host, port))
    holder.listen()
    return holder
