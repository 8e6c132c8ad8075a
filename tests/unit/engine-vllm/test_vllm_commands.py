"""vLLM's command line, compared word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rayllm_engine_vllm
from rayllm import Command, Device, InputError, Launch
from rayllm_engine_vllm.arguments import ARGUMENTS
from rayllm_engine_vllm.commands import commands
from rayllm_engine_vllm.options import VllmOptions

AVX2 = Device(kind="cpu", features=frozenset({"avx2"}))
AVX512 = Device(kind="cpu", features=frozenset({"avx2", "avx512f", "avx512_bf16"}))
CUDA = Device(kind="cuda")
SERVE = str(Path(rayllm_engine_vllm.__file__).with_name("serve.py"))
START = (
    *("/env/bin/python", "-P", SERVE, "serve", "--host", "127.0.0.1", "--port", "4000"),
    *("--model", "/models/m", "--served-model-name", "small"),
)
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def launch(device: Device, options: dict[str, Any], **resources: Any) -> Command:
    """The one command for a model at /models/m that clients call `small`."""
    (command,) = commands(
        Launch(
            python="/env/bin/python",
            model_path="/models/m",
            model_name="small",
            options=VllmOptions.model_validate(options),
            host="127.0.0.1",
            port=4000,
            device=device,
            **resources,
        )
    )
    return command


def flags(device: Device, options: dict[str, Any], **resources: Any) -> list[str]:
    """What follows the address and the model."""
    argv = launch(device, options, **resources).argv
    assert argv[: len(START)] == START
    return list(argv[len(START) :])


def test_a_cpu_without_bfloat16() -> None:
    """Eager, float32, two GiB of KV cache, one thread for each reserved core, and nothing sent anywhere."""
    command = launch(AVX2, {"max_model_len": 2048}, cpus=3)
    assert command.argv == (
        *START,
        *("--max-model-len=2048", "--dtype=float32", "--kv-cache-memory-bytes=2147483648", "--enforce-eager"),
    )
    assert command.env == {**QUIET, "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "3"}
    assert (command.ready, command.metrics) == ("/health", "/metrics")


def test_a_cpu_with_bfloat16() -> None:
    """The type is left to vLLM; still eager."""
    assert flags(AVX512, {}) == ["--kv-cache-memory-bytes=2147483648", "--enforce-eager"]


def test_a_person_overrules_what_is_decided_for_a_cpu() -> None:
    """What stands in the YAML wins over every decision."""
    options = {"dtype": "bfloat16", "enforce_eager": False, "kv_cache_gb": 0.5}
    assert flags(AVX2, options) == ["--dtype=bfloat16", "--kv-cache-memory-bytes=536870912", "--no-enforce-eager"]


def test_the_kv_cache_takes_half_of_the_reserved_memory() -> None:
    """A replica that reserves 8 GiB keeps 4 for the weights."""
    assert "--kv-cache-memory-bytes=4294967296" in flags(AVX512, {}, memory=8 << 30)


def test_a_gpu_is_left_to_vllm() -> None:
    """One GPU, no options: no flag and no thread settings."""
    command = launch(CUDA, {}, gpus=1)
    assert command.argv == START
    assert command.env == QUIET


def test_every_typed_option_has_its_flag() -> None:
    """All options at once, on a GPU."""
    options = {
        "max_model_len": 32768,
        "dtype": "bfloat16",
        "quantization": "fp8",
        "gpu_memory_utilization": 0.85,
        "kv_cache_gb": 4,
        "tensor_parallel_size": 1,
        "max_num_seqs": 64,
        "enforce_eager": True,
        "seed": 7,
        "trust_remote_code": True,
        "chat_template": "/templates/chat.jinja",
        "tool_call_parser": "hermes",
        "reasoning_parser": "qwen3",
        "runner": "pooling",
        "convert": "embed",
    }
    assert flags(CUDA, options, gpus=1) == [
        "--max-model-len=32768",
        "--dtype=bfloat16",
        "--quantization=fp8",
        "--gpu-memory-utilization=0.85",
        "--kv-cache-memory-bytes=4294967296",
        "--max-num-seqs=64",
        "--enforce-eager",
        "--seed=7",
        "--trust-remote-code",
        "--chat-template=/templates/chat.jinja",
        "--enable-auto-tool-choice",
        "--tool-call-parser=hermes",
        "--reasoning-parser=qwen3",
        "--runner=pooling",
        "--convert=embed",
    ]


def test_lora() -> None:
    """The switches for adapters."""
    options = {"enable_lora": True, "max_loras": 4, "max_lora_rank": 64}
    assert flags(CUDA, options, gpus=1) == [
        *("--enable-lora", "--max-loras=4", "--max-cpu-loras=16", "--max-lora-rank=64")
    ]
    assert flags(CUDA, {"enable_lora": True}, gpus=1)[1:] == [
        *("--max-loras=4", "--max-cpu-loras=16", "--max-lora-rank=16")
    ]


@pytest.mark.parametrize(
    ("options", "gpus", "said"),
    [
        ({}, 1, []),
        ({}, 4, ["--tensor-parallel-size=4"]),
        ({"tensor_parallel_size": 4}, 4, ["--tensor-parallel-size=4"]),
        ({"pipeline_parallel_size": 2}, 4, ["--tensor-parallel-size=2", "--pipeline-parallel-size=2"]),
        ({"data_parallel_size": 4}, 4, ["--data-parallel-size=4"]),
        (
            {"data_parallel_size": 8, "enable_expert_parallel": True},
            8,
            ["--data-parallel-size=8", "--enable-expert-parallel"],
        ),
        (
            {"data_parallel_size": 2, "pipeline_parallel_size": 2},
            8,
            ["--tensor-parallel-size=2", "--pipeline-parallel-size=2", "--data-parallel-size=2"],
        ),
    ],
)
def test_shapes_on_gpus(options: dict[str, Any], gpus: int, said: list[str]) -> None:
    """By default tensor parallel over the GPUs that the other sizes leave."""
    assert flags(CUDA, options, gpus=gpus) == said


def test_tensor_parallel_on_a_cpu_shares_the_cores() -> None:
    """Two parts on four cores: two threads each."""
    command = launch(AVX512, {"tensor_parallel_size": 2}, cpus=4)
    assert "--tensor-parallel-size=2" in command.argv
    assert command.env["OMP_NUM_THREADS"] == "2"


def test_another_number_of_parts_than_gpus() -> None:
    """Refused before anything starts, with what to change."""
    with pytest.raises(InputError, match="tensor parallel 4 makes 4 parts, more than the 2 GPUs") as caught:
        launch(CUDA, {"tensor_parallel_size": 4}, gpus=2)
    assert caught.value.cure is not None
    assert "4 GPUs (gpus × nodes)" in caught.value.cure


def test_other_flags_by_name() -> None:
    """Every kind of value, keys with dashes and without; a value that begins with a dash stays a value."""
    options = {
        "engine_args": {
            "max_num_batched_tokens": 4096,
            "--enable-prefix-caching": False,
            "enable-chunked-prefill": True,
            "allowed-origins": ["*"],
            "middleware": ["a.b", "c.d"],
            "cudagraph-capture-sizes": [1, 2],
            "compilation-config": {"level": 3},
            "kernel_config.ir_op_priority": "-1",
            "hf-overrides": "-1",
        }
    }
    assert flags(CUDA, options, gpus=1) == [
        "--max-num-batched-tokens=4096",
        "--no-enable-prefix-caching",
        "--enable-chunked-prefill",
        '--allowed-origins=["*"]',
        "--middleware=a.b",
        "--middleware=c.d",
        *("--cudagraph-capture-sizes", "1", "2"),
        '--compilation-config={"level": 3}',
        "--kernel-config.ir_op_priority=-1",
        "--hf-overrides=-1",
    ]


@pytest.mark.parametrize("device", [AVX512, CUDA])
def test_how_weights_are_read(device: Device) -> None:
    """The engine's own default is left to it, and the flag is the option's alone."""
    gpus = int(device is CUDA)
    assert "--load-format=runai_streamer" in flags(device, {"load_format": "runai_streamer"}, gpus=gpus)
    assert flags(device, {"load_format": "auto"}, gpus=gpus) == flags(device, {}, gpus=gpus)
    assert "load_format:" in ARGUMENTS.owned["load-format"]
    settings = {"model-loader-extra-config": {"concurrency": 8}}
    assert '--model-loader-extra-config={"concurrency": 8}' in flags(device, {"engine_args": settings}, gpus=gpus)
