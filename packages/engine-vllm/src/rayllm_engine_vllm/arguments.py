"""The flags of vLLM's server that RayLLM sets itself, and where the lists of all flags are."""

from __future__ import annotations

from pathlib import Path

from rayllm import EngineArguments
from rayllm_engine_vllm.options import VllmOptions

PARSER = """
try:
    from vllm.entrypoints.common.cli_args import make_arg_parser
except ImportError:  # before 0.33
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser

if not current_platform.device_type:  # made for GPUs, asked where there is none
    current_platform.device_type = "cuda"
parser = make_arg_parser(FlexibleArgumentParser())
"""
"""vLLM's own parser, as its server makes it."""

_RANKS = "RayLLM starts the ranks"
_OURS = {
    "api-key": "RayLLM guards the engine itself",
    "config": "write the settings here",
    "data-parallel-address": _RANKS,
    "data-parallel-backend": _RANKS,
    "data-parallel-external-lb": _RANKS,
    "data-parallel-hybrid-lb": _RANKS,
    "data-parallel-multi-port-external-lb": _RANKS,
    "data-parallel-rank": _RANKS,
    "data-parallel-rpc-port": _RANKS,
    "data-parallel-size-local": _RANKS,
    "data-parallel-start-rank": _RANKS,
    "data-parallel-supervisor-port": _RANKS,
    "disable-log-stats": "RayLLM reads the engine's metrics",
    "grpc": "RayLLM's gateway speaks HTTP",
    "grpc-port": "RayLLM's gateway speaks HTTP",
    "headless": _RANKS,
    "hf-token": "the engine fetches nothing, and here everybody on the cluster could read it",
    "host": "RayLLM chooses the address",
    "master-addr": _RANKS,
    "master-port": _RANKS,
    "model": "write the model's `source:`",
    "nnodes": _RANKS,
    "node-rank": _RANKS,
    "port": "RayLLM chooses the port",
    "root-path": "RayLLM's gateway is in front of the engine",
    "served-model-name": "it is the model's name in the YAML",
    "ssl-ca-certs": "the engine listens on loopback",
    "ssl-certfile": "the engine listens on loopback",
    "ssl-keyfile": "the engine listens on loopback",
    "uds": "RayLLM chooses the address",
}
"""Flags that RayLLM sets or does without, and why."""
_BEHIND = {
    "kv-cache-memory-bytes": "kv_cache_gb",
    "enable-auto-tool-choice": "tool_call_parser",
    "lora-modules": "enable_lora",
}
"""Flags that an option of another name stands for."""


def _owned() -> dict[str, str]:
    same = {name.replace("_", "-"): name for name in VllmOptions.model_fields if name != "engine_args"}
    options = {flag: f"write `{name}:` beside engine_args" for flag, name in {**same, **_BEHIND}.items()}
    return {**options, **_OURS}


ARGUMENTS = EngineArguments(
    title="vLLM",
    pinned={kind: Path(__file__).parent / "lists" / f"{kind}.json" for kind in ("cpu", "cuda")},
    parser=PARSER,
    owned=_owned(),
    dotted=True,
)
