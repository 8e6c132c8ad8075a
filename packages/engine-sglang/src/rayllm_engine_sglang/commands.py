"""From a launch to SGLang's command line. Pure: the same in, the same out."""

from __future__ import annotations

from rayllm import Command, InputError, Launch
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.options import SglangOptions

_Scalar = bool | int | float | str
_CPU_TOKENS = 16384
"""Of the KV cache on a CPU: from half to two GB for the small models that CPUs serve."""
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""CPU features (x86, ARM) with which bfloat16 is not emulated."""


def commands(launch: Launch[SglangOptions]) -> list[Command]:
    """The one process of a replica.

    Raises:
        InputError: tensor parallel wants more GPUs than the replica has, or is asked for on a CPU.
    """
    argv = [launch.python, "-m", "sglang.launch_server"]
    argv += ["--host", launch.host, "--port", str(launch.port)]
    argv += ["--model-path", launch.model_path, "--served-model-name", launch.model_name]
    argv += ["--enable-metrics"]
    argv += _typed(launch)
    argv += ARGUMENTS.command_line(launch.device, launch.options.engine_args)
    return [Command(*argv, ready="/health", metrics="/metrics", env=_environ(launch))]


def _typed(launch: Launch[SglangOptions]) -> list[str]:
    """The flags of the typed options, and of what RayLLM decides for the device."""
    options = launch.options
    decided = _on_cpu(launch) if launch.device.kind == "cpu" else {}
    settings: dict[str, _Scalar | None] = {
        "context-length": options.context_length,
        "dtype": options.dtype or decided.get("dtype"),
        "quantization": options.quantization,
        "mem-fraction-static": options.mem_fraction_static,
        "max-total-tokens": options.max_total_tokens or decided.get("max-total-tokens"),
        "tp-size": _tensor_parallel(launch),
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


def _on_cpu(launch: Launch[SglangOptions]) -> dict[str, _Scalar]:
    """What a CPU needs."""
    tokens = max(_CPU_TOKENS, launch.options.context_length or 0)
    decided: dict[str, _Scalar] = {"max-total-tokens": tokens, "sleep-on-idle": True}
    if not launch.device.features & _BFLOAT16:
        decided["dtype"] = "float32"
    return decided


def _tensor_parallel(launch: Launch[SglangOptions]) -> int | None:
    """The option, else all GPUs of the replica; None for one part, which is SGLang's default."""
    size = launch.options.tp_size or launch.gpus or 1
    if size > 1 and launch.device.kind == "cpu":
        raise InputError(f"tp_size {size}: on a CPU a replica is one part", cure="leave tp_size out, or set it to 1")
    if size > max(launch.gpus, 1):
        raise InputError(
            f"tp_size {size} is more than the {launch.gpus} GPUs of a replica",
            cure=f"set resources.gpus: {size}, or a smaller tp_size",
        )
    return size if size > 1 else None


def _environ(launch: Launch[SglangOptions]) -> dict[str, str]:
    """Variables of the process: no calls to the hub (the model is a folder), and a look at its health costs nothing."""
    environ = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # By default each look generates a token, and waits for it for a second; RayLLM asks an idle engine for one.
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false",
    }
    if launch.device.kind == "cpu":
        environ |= {"SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": str(launch.cpus)}
    return environ
