"""From a launch to vLLM's command line. Pure: the same in, the same out."""

from __future__ import annotations

from pathlib import Path

from rayllm import Command, Device, Launch
from rayllm_engine_vllm.arguments import ARGUMENTS
from rayllm_engine_vllm.options import VllmOptions
from rayllm_engine_vllm.ranks import rank_environ, rank_flags, sizes
from rayllm_engine_vllm.shape import shape

_Scalar = bool | int | float | str
_SERVE = Path(__file__).with_name("serve.py")
_GIB = 1 << 30
_CPU_KV_CACHE = 2 * _GIB
"""Of a replica that reserves no memory: enough for long contexts of the small models that CPUs serve."""
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""CPU features (x86, ARM) with which bfloat16 is quicker than float32, and right."""


def commands(launch: Launch[VllmOptions]) -> list[Command]:
    """The processes of a replica: its server, and a headless rank on each of its other nodes.

    Raises:
        InputError: the replica can't be split so.
    """
    # -P: the script's folder is not searched for modules, since those of this plugin are not vLLM's.
    argv = [launch.python, "-P", str(_SERVE), "serve"]
    argv += ["--host", launch.host, "--port", str(launch.port)]
    argv += ["--model", launch.model_path, "--served-model-name", launch.model_name]
    argv += _typed(launch)
    argv += ARGUMENTS.command_line(launch.device, launch.options.engine_args)
    ranks = rank_flags(launch, shape(launch.options, launch.gpus * launch.nodes))
    return [
        Command(*argv, *flags, ready="/health", metrics="/metrics", env=_environ(launch) | rank_environ(launch, rank))
        for rank, flags in enumerate(ranks)
    ]


def _typed(launch: Launch[VllmOptions]) -> list[str]:
    """The flags of the typed options, and of what RayLLM decides for the device."""
    options = launch.options
    decided = decided_on_cpu(launch.device, launch.memory) if launch.device.kind == "cpu" else {}
    settings: dict[str, _Scalar | None] = {
        "max-model-len": options.max_model_len,
        "dtype": options.dtype or decided.get("dtype"),
        "quantization": options.quantization,
        "load-format": None if options.load_format == "auto" else options.load_format,
        "gpu-memory-utilization": options.gpu_memory_utilization,
        "kv-cache-memory-bytes": _kv_cache_bytes(options) or decided.get("kv-cache-memory-bytes"),
        **sizes(shape(options, launch.gpus * launch.nodes)),
        "max-num-seqs": options.max_num_seqs,
        "enforce-eager": decided.get("enforce-eager") if options.enforce_eager is None else options.enforce_eager,
        "seed": options.seed,
        "trust-remote-code": options.trust_remote_code or None,
        "chat-template": options.chat_template,
        "enable-auto-tool-choice": True if options.tool_call_parser else None,
        "tool-call-parser": options.tool_call_parser,
        "reasoning-parser": options.reasoning_parser,
        "enable-lora": options.enable_lora or None,
        "max-loras": options.max_loras if options.enable_lora else None,
        "max-cpu-loras": options.max_cpu_loras if options.enable_lora else None,
        "max-lora-rank": options.max_lora_rank if options.enable_lora else None,
        "runner": None if options.runner == "auto" else options.runner,
        "convert": None if options.convert == "auto" else options.convert,
    }
    given = {flag: value for flag, value in settings.items() if value is not None}
    return ARGUMENTS.command_line(launch.device, given)


def decided_on_cpu(device: Device, memory: int | None) -> dict[str, _Scalar]:
    """What a CPU needs. torch.compile gives wrong text there and takes minutes, so it is off on every one."""
    kv_cache = memory // 2 if memory else _CPU_KV_CACHE
    decided: dict[str, _Scalar] = {"enforce-eager": True, "kv-cache-memory-bytes": kv_cache}
    if not device.features & _BFLOAT16:
        decided["dtype"] = "float32"
    return decided


def _kv_cache_bytes(options: VllmOptions) -> int | None:
    return None if options.kv_cache_gb is None else int(options.kv_cache_gb * _GIB)


def _environ(launch: Launch[VllmOptions]) -> dict[str, str]:
    """Variables of the process: no calls to the hub (the model is a folder) and no usage reports."""
    environ = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if launch.options.enable_lora:
        environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if launch.device.kind == "cpu":
        # By default vLLM pins its threads to all cores of the first NUMA node: two replicas would share those, and
        # tensor parallel would want as many NUMA nodes as parts. As many threads as cores are reserved, where they fit.
        threads = max(1, launch.cpus // shape(launch.options, 0).on_each_of(launch.nodes))
        environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    return environ
