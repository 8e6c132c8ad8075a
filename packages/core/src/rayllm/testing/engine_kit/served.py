"""An engine's process, started as a replica starts it, and asked over HTTP."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from rayllm.engines import AnyEngine, Command, Device, Launch
from rayllm.plugins import Plugins
from rayllm.serving.engine.environ import engine_env
from rayllm.serving.engine.load import Load, parse_load
from rayllm.serving.engine.log_tail import error_of, tail
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.processes.ports import HeldPort, hold_port
from rayllm.serving.processes.supervised import Supervised, marked
from rayllm.serving.weights.ensure import ensure_weights
from rayllm.testing.engine_kit import samples

HOST = "127.0.0.1"
POLL_S = 0.02
STOP_S = 10.0
"""Seconds after SIGTERM; what lives longer is killed."""
ANSWER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is started."""

    engine: AnyEngine
    options: Mapping[str, Any]
    environment: str
    model: str | None
    ready_s: float


@dataclass(slots=True, kw_only=True)
class Served:
    """A running engine. Make it with `start`, end it with `stop`."""

    wanted: Wanted
    command: Command
    process: Supervised
    port: HeldPort
    marker: str
    folder: tempfile.TemporaryDirectory[str]
    early: list[str] = field(default_factory=list)
    """What it answered amiss in the moment when its `ready` path answered 200 for the first time."""
    failure: str = ""
    """Why it never got ready."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port.number}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return Path(self.folder.name) / "engine.log"

    def ask(self, method: str, path: str, timeout_s: float = ANSWER_S, **body: Any) -> httpx.Response:
        """One answer."""
        return httpx.request(method, self.url + path, timeout=timeout_s, trust_env=False, **body)

    def generate(self, path: str, tokens: int, **more: Any) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request for a text."""
        body = {"model": samples.MODEL_NAME, "max_tokens": tokens, **more}
        words = "Tell a long story about the sea."
        prompt = {"messages": [{"role": "user", "content": words}]} if "chat" in path else {"prompt": words}
        return path, {**body, **prompt}

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """An answer that is read while it comes."""
        asked = httpx.stream("POST", self.url + path, json=body, timeout=ANSWER_S, trust_env=False)
        with asked as answer:
            yield answer

    def load(self) -> Load | None:
        """What its metrics tell."""
        gauges, path = self.wanted.engine.gauges, self.command.metrics
        return parse_load(self.ask("GET", path).text, gauges) if gauges and path else None

    def left(self) -> list[int]:
        """Processes of it that there still are."""
        return marked(self.marker)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.process.stop(1)
        self.port.release()
        self.folder.cleanup()


def start(wanted: Wanted, plugins: Plugins) -> Served:
    """Start the engine and wait until it is ready, or until `failure` tells why it will never be.

    Raises:
        RayllmError: its environment or its weights can't be had.
    """
    device = _device(wanted.engine)
    python = ensure_environment(wanted.engine, wanted.environment, device, _quiet, options=wanted.options)
    folder = tempfile.TemporaryDirectory(prefix="rayllm-conformance-")
    model = ensure_weights(wanted.model, plugins, python, _quiet) if wanted.model else Path(folder.name)
    port = hold_port(HOST)
    gpus = 0 if device.kind == "cpu" else 1
    launch = Launch(
        python=python,
        model_path=str(model),
        model_name=samples.MODEL_NAME,
        options=samples.read(wanted.engine.options, wanted.options),
        host=HOST,
        port=port.number,
        device=device,
        gpus=gpus,
    )
    command = wanted.engine.commands(launch)[0]
    marker = f"conformance-{os.getpid()}-{port.number}"
    env = engine_env(os.environ, command, [str(gpu) for gpu in range(gpus)])
    log = Path(folder.name) / "engine.log"
    process = Supervised.start(command.argv, env=env, log=log, marker=marker, grace_s=STOP_S + 5)
    served = Served(wanted=wanted, command=command, process=process, port=port, marker=marker, folder=folder)
    _wait(served)
    return served


def _device(engine: AnyEngine) -> Device:
    """This machine's CPU, unless the engine runs on GPUs alone."""
    return detect(0 if "cpu" in engine.devices else 1)


def _wait(served: Served) -> None:
    deadline = time.monotonic() + served.wanted.ready_s
    while time.monotonic() < deadline:
        if (status := served.process.poll()) is not None:
            served.failure = (
                f"it stopped while starting (exit status {status}): {error_of(tail(served.log)) or 'no log'}"
            )
            return
        if _status(served, served.command.ready) == httpx.codes.OK:
            served.early = _amiss(served)
            while _amiss(served) and time.monotonic() < deadline:
                time.sleep(POLL_S)
            return
        time.sleep(POLL_S)
    last = "\n".join(tail(served.log, 3)) or "it printed nothing"
    served.failure = f"{served.command.ready} did not answer 200 within {served.wanted.ready_s:g} s: {last}"


def _amiss(served: Served) -> list[str]:
    """What an engine that calls itself ready does not answer."""
    path, body = served.generate("/v1/completions", 1)
    answers = {"/v1/models": _status(served, "/v1/models"), path: _status(served, path, json=body)}
    return [
        f"{path} answers {status or 'not at all'}"
        for path, status in answers.items()
        if not status or status >= httpx.codes.INTERNAL_SERVER_ERROR
    ]


def _status(served: Served, path: str, **body: Any) -> int:
    """The status of an answer; 0 for none."""
    try:
        return served.ask("POST" if body else "GET", path, **body).status_code
    except httpx.TransportError:
        return 0


def _quiet(detail: str) -> None:
    """Nobody looks on."""
