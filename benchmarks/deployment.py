"""One model served by RayLLM on this machine, and the same engine started by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from rayllm.paths import home
from rayllm.serving.processes.ports import hold_port
from rayllm.serving.processes.supervised import OWNER, marked

NAME = "bench"
MODEL = "m"
GATEWAY_PORT = 18765
READY_S = 600.0


def rayllm(folder: Path, *arguments: str) -> str:
    """Run the command line in a folder; returns what it prints.

    Raises:
        SystemExit: it fails.
    """
    command = [sys.executable, "-m", "rayllm", *arguments]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"rayllm {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def served(**models: Any) -> Iterator[Path]:
    """These models behind RayLLM's gateway, until the block ends; yields the folder of their file."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        content = {"name": NAME, "models": models, "gateway": {"port": GATEWAY_PORT}}
        (folder / "rayllm.yaml").write_text(yaml.safe_dump(content))
        try:
            rayllm(folder, "up", "--yes")
            yield folder
        finally:
            rayllm(folder, "down", "--yes")


@dataclass(frozen=True, slots=True)
class Process:
    """How a process was started."""

    argv: tuple[str, ...]
    env: Mapping[str, str]

    @property
    def port(self) -> str:
        """What follows `--port`."""
        return self.argv[self.argv.index("--port") + 1]

    @classmethod
    def of_replica(cls) -> Process:
        """The engine of the one replica that is served, as its reaper was told to start it.

        Raises:
            SystemExit: none is served.
        """
        for pid in marked(f"{NAME}--{MODEL}:"):
            argv = _words(pid, "cmdline")
            for index, part in enumerate(argv):
                if part.endswith("/reaper.py"):
                    env = dict(pair.split("=", 1) for pair in _words(pid, "environ") if "=" in pair)
                    return cls(tuple(argv[index + 2 :]), env)  # after the seconds of grace
        raise SystemExit("no replica's engine is found")

    @contextmanager
    def again(self) -> Iterator[tuple[str, int]]:
        """A second one, started by hand, on a port of its own, until the block ends; yields its address and pid."""
        held = hold_port("127.0.0.1")
        argv = list(self.argv)
        argv[argv.index("--port") + 1] = str(held.number)
        env = {name: value for name, value in self.env.items() if name != OWNER}  # it is nobody's to sweep
        quiet = subprocess.DEVNULL
        # A session of its own, as the replica gives it: the kernel shares processor time out between sessions.
        process = subprocess.Popen(argv, env=env, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{held.number}"
            wait_until_ready(url, "/health", process)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()
            held.release()


def wait_until_ready(url: str, path: str, process: subprocess.Popen[bytes]) -> None:
    """Return after an engine's first token.

    Raises:
        SystemExit: it ends, or takes longer than ten minutes.
    """
    end = time.monotonic() + READY_S
    with httpx.Client(base_url=url, trust_env=False, timeout=READY_S) as client:
        while True:
            try:
                if client.get(path).is_success:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the engine did not start (exit status {process.poll()})")
            time.sleep(0.05)
        client.post("/v1/completions", json={"model": MODEL, "prompt": "Hi", "max_tokens": 1}).raise_for_status()


def idle_percent(groups: Mapping[str, Sequence[int]], seconds: float) -> dict[str, float]:
    """How busy each group of processes is while nobody asks anything, in percent of one core."""
    before = {name: sum(map(_cpu_s, pids)) for name, pids in groups.items()}
    time.sleep(seconds)
    return {name: (sum(map(_cpu_s, pids)) - before[name]) / seconds * 100 for name, pids in groups.items()}


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if children.exists() else []
    return [pid, *(part for child in found for part in family(int(child)))]


def of_home() -> list[int]:
    """Every process of RayLLM's home but the engines: Ray, the replicas and the gateway."""
    wanted = f"RAYLLM_HOME={home()}"
    engines = set(marked(f"{NAME}--"))
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid not in engines | {os.getpid()} and wanted in _words(pid, "environ")]


def _words(pid: int, file: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode().strip("\0").split("\0")
    except OSError:  # ended meanwhile, or another user's
        return []


def _cpu_s(pid: int) -> float:
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
