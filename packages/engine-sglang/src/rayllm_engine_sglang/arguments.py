"""The flags of SGLang's server that RayLLM sets itself, and where the list of all flags is."""

from __future__ import annotations

from pathlib import Path

from rayllm import EngineArguments
from rayllm_engine_sglang.options import SglangOptions

PARSER = """
import argparse

from sglang.srt.server_args import ServerArgs

parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
"""
"""SGLang's own parser, as its server makes it."""

_HIDDEN = "here everybody on the cluster could read it"
_RANKS = "RayLLM starts the ranks"
_LOOPBACK = "the engine listens on loopback"
_HTTP = "RayLLM's gateway speaks HTTP"
_OURS = {
    "admin-api-key": f"RayLLM guards the engine itself, and {_HIDDEN}",
    "api-key": f"RayLLM guards the engine itself, and {_HIDDEN}",
    "config": "write the settings here",
    "device": "RayLLM chooses it by `resources.gpus`",
    "dist-init-addr": _RANKS,
    "enable-metrics": "RayLLM reads the engine's metrics",
    "enable-dp-attention": "SGLang has replaced it: write `attn_dp_size:` beside engine_args",
    "encoder-only": _HTTP,
    "fastapi-root-path": "RayLLM's gateway is in front of the engine",
    "grpc-mode": _HTTP,
    "grpc-port": _HTTP,
    "host": "RayLLM chooses the address",
    "lora-paths": "write the model's `adapters:`",
    "model-path": "write the model's `source:`",
    "nnodes": _RANKS,
    "node-rank": _RANKS,
    "port": "RayLLM chooses the port",
    "served-model-name": "it is the model's name in the YAML",
    "smg-grpc-mode": _HTTP,
    "ssl-ca-certs": _LOOPBACK,
    "ssl-certfile": _LOOPBACK,
    "ssl-keyfile": _LOOPBACK,
    "ssl-keyfile-password": _LOOPBACK,
    "use-ray": "RayLLM starts the engine",
}
"""Flags that RayLLM sets or does without, and why."""
_BEHIND = {"random-seed": "seed", "is-embedding": "embedding"}
"""Flags that an option of another name stands for."""


def _owned() -> dict[str, str]:
    same = {name.replace("_", "-"): name for name in SglangOptions.model_fields if name not in {"engine_args", "seed"}}
    options = {flag: f"write `{name}:` beside engine_args" for flag, name in {**same, **_BEHIND}.items()}
    options.pop("embedding")  # no flag of SGLang's has this name
    return {**options, **_OURS}


_LIST = Path(__file__).parent / "lists" / "sglang.json"
ARGUMENTS = EngineArguments(
    title="SGLang",
    pinned={"cpu": _LIST, "cuda": _LIST},  # of one version, which has the same flags everywhere
    parser=PARSER,
    owned=_owned(),
)
