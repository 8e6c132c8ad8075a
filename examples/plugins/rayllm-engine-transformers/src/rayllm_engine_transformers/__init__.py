"""Any Hugging Face model with Transformers' own server, for RayLLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rayllm import Command, Engine, Environment, Launch, Options, hookimpl

SERVER = Path(__file__).with_name("server.py")
REQUIRES = (
    "transformers[serving]==5.19.0",  # first: what a node's own Python must have to be taken as it is
    "accelerate==1.15.0",
    "fastapi==0.136.3",
    "gguf==0.19.0",  # reads GGUF files
    "openai==3.54.0",
    "torch==2.13.0",
    "uvicorn==0.54.0",
)


class TransformersOptions(Options):
    """What a person may write under `options:`."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Type of the weights; `auto`: as in the model's files."""
    continuous_batching: bool = False
    """Compute requests together instead of one after the other. The first request's temperature is then everyone's."""


def commands(launch: Launch[TransformersOptions]) -> list[Command]:
    """The one process of a replica."""
    argv = [launch.python, "-I", str(SERVER), launch.model_name, launch.model_path]
    argv += ["--host", launch.host, "--port", str(launch.port)]
    argv += ["--device", "auto" if launch.gpus else "cpu", "--dtype", launch.options.dtype]
    argv += ["--continuous-batching"] if launch.options.continuous_batching else []
    return [Command(*argv, ready="/health", env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(launch.cpus)})]


def explain(log: str) -> str | None:
    """What to do about the last lines of its log."""
    if "OutOfMemoryError" in log or "DefaultCPUAllocator: can't allocate" in log:
        return "there is not enough memory: options.dtype bfloat16 halves what float32 takes, or take a smaller model"
    if "does not recognize this architecture" in log or "has no attribute" in log:
        return "Transformers 5.19 does not know this architecture: serve it with another engine"
    return None


@hookimpl
def rayllm_engines() -> Iterator[Engine[TransformersOptions]]:
    """Offer `transformers`."""
    yield Engine(
        name="transformers",
        summary="any Hugging Face model, with Transformers' own server",
        options=TransformersOptions,
        environment=Environment(
            requires=REQUIRES, imports=("transformers.cli.serve", "fastapi", "gguf"), disk=900_000_000
        ),
        commands=commands,
        capabilities={"chat", "completions", "streaming", "gguf"},
        explain=explain,
    )
