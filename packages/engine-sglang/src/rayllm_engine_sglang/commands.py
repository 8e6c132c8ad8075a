"""From a launch to SGLang's command line. Pure: the same in, the same out."""

from __future__ import annotations

from pydantic import JsonValue

from rayllm import Command, Device, Launch
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.options import SglangOptions
from rayllm_engine_sglang.ranks import rank_environ, rank_flags, sizes
from rayllm_engine_sglang.shape import shape

_Scalar = bool | int | float | str
_CPU_TOKENS = 16384
"""Of the KV cache on a CPU: from half to two GB for the small models that CPUs serve."""
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""CPU features (x86, ARM) with which bfloat16 is not emulated."""


def commands(launch: Launch[SglangOptions]) -> list[Command]:
    """The processes of a replica, one on each of its nodes.

    Raises:
        InputError: the replica can't be split so.
    """
    argv = [launch.python, "-m", "sglang.launch_server"]
    argv += ["--host", launch.host, "--port", str(launch.port)]
    argv += ["--model-path", launch.model_path, "--served-model-name", launch.model_name]
    argv += ["--enable-metrics"]
    argv += _typed(launch)
    argv += _lora(launch)
    argv += ARGUMENTS.command_line(launch.device, launch.options.engine_args)
    ranks = rank_flags(launch, shape(launch.options, launch.gpus * launch.nodes))
    return [
        Command(*argv, *flags, ready="/health", metrics="/metrics", env=_environ(launch) | rank_environ(launch, rank))
        for rank, flags in enumerate(ranks)
    ]


def _typed(launch: Launch[SglangOptions]) -> list[str]:
    """The flags of the typed options, and of what RayLLM decides for the device."""
    options = launch.options
    decided = decided_on_cpu(launch.device, options) if launch.device.kind == "cpu" else {}
    settings: dict[str, _Scalar | None] = {
        "context-length": options.context_length,
        "dtype": options.dtype or decided.get("dtype"),
        "quantization": options.quantization,
        "load-format": None if options.load_format == "auto" else options.load_format,
        "mem-fraction-static": options.mem_fraction_static,
        "max-total-tokens": options.max_total_tokens or decided.get("max-total-tokens"),
        **sizes(options, shape(options, launch.gpus * launch.nodes)),
        "max-running-requests": options.max_running_requests,
        "random-seed": options.seed,
        "trust-remote-code": options.trust_remote_code or None,
        "chat-template": options.chat_template,
        "tool-call-parser": options.tool_call_parser,
        "reasoning-parser": options.reasoning_parser,
        "is-embedding": options.embedding or None,
        "sleep-on-idle": (decided.get("sleep-on-idle") if options.sleep_on_idle is None else options.sleep_on_idle)
        or None,
    }
    given = {flag: value for flag, value in settings.items() if value is not None}
    return ARGUMENTS.command_line(launch.device, given)


def _lora(launch: Launch[SglangOptions]) -> list[str]:
    """The flags for adapters. They are loaded while it runs, so SGLang has to be told what it would learn from them."""
    options = launch.options
    if not options.enable_lora:
        return []
    backend = options.lora_backend or ("torch_native" if launch.device.kind == "cpu" else None)
    given: dict[str, JsonValue] = {
        "enable-lora": True,
        "max-loras-per-batch": options.max_loras_per_batch,
        "max-loaded-loras": options.max_loaded_loras,
        "max-lora-rank": options.max_lora_rank,
        "lora-target-modules": list(options.lora_target_modules),
        **({"lora-backend": backend} if backend else {}),
    }
    return ARGUMENTS.command_line(launch.device, given)


def decided_on_cpu(device: Device, options: SglangOptions) -> dict[str, _Scalar]:
    """What a CPU needs."""
    tokens = max(_CPU_TOKENS, options.context_length or 0)
    decided: dict[str, _Scalar] = {"max-total-tokens": tokens, "sleep-on-idle": True}
    if not device.features & _BFLOAT16:
        decided["dtype"] = "float32"
    return decided


def _environ(launch: Launch[SglangOptions]) -> dict[str, str]:
    """Variables of the process: no calls to the hub (the model is a folder), and a look at its health costs nothing."""
    environ = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # By default each look generates a token, and waits for it for a second; RayLLM asks an idle engine for one.
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false",
    }
    if launch.device.kind == "cpu":
        parts = shape(launch.options, 0).on_each_of(launch.nodes)
        threads = max(1, launch.cpus // parts)
        environ |= {"SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": str(threads)}
        if parts > 1 or launch.nodes > 1:
            # Without it SGLang wants as many NUMA nodes as parts. One group of cores for each part.
            groups = (f"{first}-{first + threads - 1}" for first in range(0, parts * threads, threads))
            environ["SGLANG_CPU_OMP_THREADS_BIND"] = "|".join(groups)
        if launch.options.enable_lora:
            environ["RAYLLM_SGLANG_LORA"] = "1"  # for the stand-in for pinned memory
    return environ
