"""A plugin with one engine, `fake`: no model, nothing to install, and told to be slow, to fail, to crash or to hang.

Core does not register it: tests and tools do, by an entry point `rayllm.testing.fake_engine` of a distribution of their
own, or by handing this module to discovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from rayllm import Adapters, Command, Engine, Environment, Gauges, Launch, Options, hookimpl

SERVER = Path(__file__).with_name("fake_server.py")


class FakeOptions(Options):
    """What the fake engine can be told; left out, it starts at once and answers at once."""

    answer: str | None = Field(default=None, pattern=r"\S")
    """What it says, repeated until `max_tokens` is reached; by default `fake MODEL pid PID`."""
    start_s: float = Field(default=0, ge=0, strict=False)
    """Seconds until /health answers 200; until then 503."""
    token_s: float = Field(default=0, ge=0, strict=False)
    """Seconds for each token."""
    fail_start: str | None = None
    """Print this text after `start_s` and exit with status 1."""
    fail_rank: int | None = Field(default=None, ge=0)
    """The node rank that `fail_start` is for; by default the first."""
    crash_after: int | None = Field(default=None, ge=0)
    """Answer so many generating requests and die on the next; the replica's own test prompts count."""
    enable_lora: bool = False
    """Take adapters. Of one called `sql` it says `fake sql pid PID`, or the same as ever."""
    max_loras: int = Field(default=3, ge=1)
    """Adapters that it holds, at most."""
    max_lora_rank: int = Field(default=16, ge=1)
    """The highest rank of any."""
    hang_after: int | None = Field(default=None, ge=0)
    """Answer so many generating requests and never answer another, while /health stays 200."""


def commands(launch: Launch[FakeOptions]) -> list[Command]:
    """The processes of a replica, run by the node's own Python; the ranks meet, and do nothing more for one another."""
    told = launch.options.model_dump(exclude_none=True, exclude_defaults=True)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
    where = ["--host", launch.host, "--port", str(launch.port)]
    what = ["--model", launch.model_name, "--model-path", launch.model_path]
    argv = [launch.python, "-I", str(SERVER), *what, *where, *flags]
    ranks: list[list[str]] = [[]]
    if launch.nodes > 1:
        meet = [f"--nodes={launch.nodes}", f"--meet={launch.addresses[0]}:{launch.rendezvous_port}"]
        ranks = [[*meet, f"--rank={rank}"] for rank in range(launch.nodes)]
    return [Command(*argv, *rank, ready="/health", metrics="/metrics") for rank in ranks]


@hookimpl
def rayllm_engines() -> Iterator[Engine[FakeOptions]]:
    """Offer `fake`."""
    yield Engine(
        name="fake",
        summary="answers without a model, for tests",
        options=FakeOptions,
        environment=Environment(requires=()),
        commands=commands,
        # No GGUF file is converted for it; without the word, none could be named in tests of what goes wrong with them.
        capabilities={"chat", "completions", "embeddings", "gguf", "lora", "multi-node", "streaming"},
        adapters=Adapters(
            load="/v1/load_lora_adapter", unload="/v1/unload_lora_adapter", room="max_loras", rank="max_lora_rank"
        ),
        gauges=Gauges(
            running="vllm:num_requests_running",
            waiting="vllm:num_requests_waiting",
            generated="vllm:generation_tokens_total",
        ),
    )
