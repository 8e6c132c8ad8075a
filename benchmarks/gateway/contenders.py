"""The gateways that are measured side by side, each at the version that is written here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from benchmarks.gateway.client import Work
from benchmarks.gateway.environments import environment
from benchmarks.gateway.mock import MODEL, loopback
from benchmarks.gateway.processes import Dialogue, MissingError, everyone, free_port, running, until_answers

from rayllm.serving.processes.supervised import marked

RAYLLM, NO_USAGE = "RayLLM", "RayLLM, no usage"
VLLM_ROUTER, SGLANG_ROUTER, LITELLM, SERVE, NONE = "vllm-router", "sglang-router", "LiteLLM", "Ray Serve", "no gateway"
REQUIREMENTS = {
    VLLM_ROUTER: "vllm-router==0.1.17",
    SGLANG_ROUTER: "sglang-router==0.3.2",
    LITELLM: "litellm[proxy]==1.106.2",
}
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""What every client sends; it opens nothing but what runs here."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What all of them stand in front of."""

    model: str
    port: int
    hosts: Sequence[str]
    pid: int

    @property
    def urls(self) -> list[str]:
        """Of its replicas."""
        return [f"http://{host}:{self.port}" for host in self.hosts]


@dataclass(frozen=True, slots=True)
class Side:
    """One gateway that runs."""

    name: str
    port: int
    pids: Callable[[], list[int]]
    """Its processes."""
    behind_s: float = 0.0
    """Seconds after an answer in which it may still work on it."""


Change = Callable[[Mapping[str, Any]], float]
"""Serves something else; returns the seconds that it took."""


@contextmanager
def engine(folder: Path, replicas: int) -> Iterator[Engine]:
    """The mock engine, listening once for each replica."""
    port, log = free_port(), folder / "mock.log"
    argv = [sys.executable, "-m", "benchmarks.gateway.mock", str(port), "--addresses", str(replicas)]
    with running(argv, log) as process:
        until_answers(port, Work(port=port).requests()[0], process, log)
        yield Engine(MODEL, port, loopback(replicas), process.pid)


def folder_of(folder: Path, port: int) -> Path:
    """Where RayLLM's gateway on this port has its configuration and its sockets."""
    return folder / f"ours-{port}"


@contextmanager
def rayllm(name: str, folder: Path, told: Mapping[str, Any]) -> Iterator[tuple[Side, Change]]:
    """RayLLM's gateway, and what changes it: the seconds until a change is served."""
    port = free_port()
    told = {"port": port, "key": KEY, "run_dir": str(folder_of(folder, port)), **told}
    with closing(Dialogue("benchmarks.gateway.ours", folder / f"ours-{port}.log")) as process:

        def tell(change: Mapping[str, Any]) -> float:
            return float(process.tell({**told, **change}))

        tell({})
        # It counts tokens twice a second, behind the back of requests: that is part of what they cost.
        yield Side(name, port, lambda: sorted({process.pid, *marked(f"bench-{port}--")}), 0.7), tell


def _router(name: str, argv: Sequence[str], engine: Engine, folder: Path, stack: ExitStack) -> Side:
    """One of the routers in Rust: what is not needed for balancing is left as it is by default."""
    port, log = free_port(), folder / f"{name}.log"
    command = [*argv, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", *engine.urls]
    command += ["--policy", "round_robin", "--prometheus-port", str(free_port()), "--prometheus-host", "127.0.0.1"]
    process = stack.enter_context(running(command, log))
    until_answers(port, _first(engine, port), process, log)
    return Side(name, port, lambda: everyone([process.pid]))


def vllm_router(engine: Engine, folder: Path, stack: ExitStack) -> Side:
    """The router of the vLLM project."""
    return _router(VLLM_ROUTER, [str(environment(REQUIREMENTS[VLLM_ROUTER]) / "vllm-router")], engine, folder, stack)


def sglang_router(engine: Engine, folder: Path, stack: ExitStack) -> Side:
    """The router of the SGLang project."""
    python = environment(REQUIREMENTS[SGLANG_ROUTER]) / "python"
    return _router(SGLANG_ROUTER, [str(python), "-m", "sglang_router.launch_router"], engine, folder, stack)


def litellm(engine: Engine, folder: Path, stack: ExitStack) -> Side:
    """LiteLLM's proxy, with one key and without a database."""
    port, log, file = free_port(), folder / "litellm.log", folder / "litellm.yaml"
    models = [
        {
            "model_name": engine.model,
            "litellm_params": {"model": f"openai/{engine.model}", "api_base": f"{url}/v1", "api_key": "none"},
        }
        for url in engine.urls
    ]
    file.write_text(yaml.safe_dump({"model_list": models, "general_settings": {"master_key": KEY}}))
    program = environment(REQUIREMENTS[LITELLM]) / "litellm"
    argv = [str(program), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    process = stack.enter_context(running(argv, log))
    until_answers(port, _first(engine, port), process, log)
    return Side(LITELLM, port, lambda: everyone([process.pid]))


def ray_serve(engine: Engine, folder: Path, stack: ExitStack) -> Side:
    """Ray Serve's proxy; its processor time is that of the proxy's process alone."""
    port, log = free_port(), folder / "serve.log"
    argv = [sys.executable, "-m", "benchmarks.gateway.serve_app", str(port)]
    process = stack.enter_context(running(argv, log))
    until_answers(port, _first(engine, port), process, log)

    def proxies() -> list[int]:
        return [pid for pid in everyone([process.pid]) if _title(pid).startswith(b"ray::ProxyActor")]

    return Side(SERVE, port, proxies)


OTHERS: dict[str, Callable[[Engine, Path, ExitStack], Side]] = {
    VLLM_ROUTER: vllm_router,
    SGLANG_ROUTER: sglang_router,
    LITELLM: litellm,
    SERVE: ray_serve,
}


@contextmanager
def side_by_side(engine: Engine, folder: Path, others: Sequence[str]) -> Iterator[tuple[list[Side], dict[str, str]]]:
    """All of them in front of this engine; what can't be had is told with its reason."""
    sides, missing = [Side(NONE, engine.port, list)], dict[str, str]()
    told = {"models": [engine.model], "engine_port": engine.port, "replicas": len(engine.hosts)}
    with ExitStack() as stack:
        for name, usage in ((RAYLLM, True), (NO_USAGE, False)):
            sides.append(stack.enter_context(rayllm(name, folder, {**told, "usage": usage}))[0])
        for name in others:
            try:
                sides.append(OTHERS[name](engine, folder, stack))
            except MissingError as problem:
                missing[name] = str(problem)
        yield sides, missing


def _first(engine: Engine, port: int) -> bytes:
    """The request by which a gateway shows that it is ready."""
    return Work(port=port, models=[engine.model], key=KEY).requests()[0]


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
