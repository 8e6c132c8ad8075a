"""SGLang's command line, compared word for word."""

from __future__ import annotations

from typing import Any

import pytest

from rayllm import Command, Device, InputError, Launch
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.commands import commands
from rayllm_engine_sglang.options import SglangOptions

AVX2 = Device(kind="cpu", features=frozenset({"avx2"}))
AVX512 = Device(kind="cpu", features=frozenset({"avx2", "avx512f", "avx512_bf16"}))
CUDA = Device(kind="cuda")
START = (
    *("/env/bin/python", "-m", "sglang.launch_server", "--host", "127.0.0.1", "--port", "4000"),
    *("--model-path", "/models/m", "--served-model-name", "small", "--enable-metrics"),
)
QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false"}


def launch(device: Device, options: dict[str, Any], **resources: Any) -> Command:
    """The one command for a model at /models/m that clients call `small`."""
    (command,) = commands(
        Launch(
            python="/env/bin/python",
            model_path="/models/m",
            model_name="small",
            options=SglangOptions.model_validate(options),
            host="127.0.0.1",
            port=4000,
            device=device,
            **resources,
        )
    )
    return command


def flags(device: Device, options: dict[str, Any], **resources: Any) -> list[str]:
    """What follows the address, the model and the metrics."""
    argv = launch(device, options, **resources).argv
    assert argv[: len(START)] == START
    return list(argv[len(START) :])


def test_a_cpu_without_bfloat16() -> None:
    """Float32, a bounded KV cache, a scheduler that sleeps, one thread for each reserved core."""
    command = launch(AVX2, {"context_length": 2048}, cpus=3)
    assert command.argv == (
        *START,
        *("--context-length=2048", "--dtype=float32", "--max-total-tokens=16384", "--sleep-on-idle"),
    )
    assert command.env == {**QUIET, "SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": "3"}
    assert (command.ready, command.metrics) == ("/health", "/metrics")


def test_a_cpu_with_bfloat16() -> None:
    """The type is left to SGLang."""
    assert flags(AVX512, {}) == ["--max-total-tokens=16384", "--sleep-on-idle"]


def test_the_kv_cache_holds_a_whole_context() -> None:
    """A context that is longer than RayLLM's choice makes it larger."""
    assert "--max-total-tokens=32768" in flags(AVX512, {"context_length": 32768})


def test_a_person_overrules_what_is_decided_for_a_cpu() -> None:
    """What stands in the YAML wins over every decision."""
    options = {"dtype": "bfloat16", "max_total_tokens": 512, "sleep_on_idle": False}
    assert flags(AVX2, options) == ["--dtype=bfloat16", "--max-total-tokens=512"]


def test_a_gpu_is_left_to_sglang() -> None:
    """One GPU, no options: no flag and no settings for CPUs."""
    command = launch(CUDA, {}, gpus=1)
    assert command.argv == START
    assert command.env == QUIET


def test_every_typed_option_has_its_flag() -> None:
    """All options at once, on GPUs."""
    options = {
        "context_length": 32768,
        "dtype": "bfloat16",
        "quantization": "fp8",
        "mem_fraction_static": 0.85,
        "max_total_tokens": 100000,
        "tp_size": 2,
        "max_running_requests": 64,
        "seed": 7,
        "trust_remote_code": True,
        "chat_template": "/templates/chat.jinja",
        "tool_call_parser": "qwen",
        "reasoning_parser": "qwen3",
        "embedding": True,
        "sleep_on_idle": True,
    }
    assert flags(CUDA, options, gpus=2) == [
        "--context-length=32768",
        "--dtype=bfloat16",
        "--quantization=fp8",
        "--mem-fraction-static=0.85",
        "--max-total-tokens=100000",
        "--tp-size=2",
        "--max-running-requests=64",
        "--random-seed=7",
        "--trust-remote-code",
        "--chat-template=/templates/chat.jinja",
        "--tool-call-parser=qwen",
        "--reasoning-parser=qwen3",
        "--is-embedding",
        "--sleep-on-idle",
    ]


@pytest.mark.parametrize(
    ("options", "gpus", "said"),
    [
        ({}, 1, []),
        ({}, 4, ["--tp-size=4"]),
        ({"tp_size": 4}, 4, ["--tp-size=4"]),
        ({"pp_size": 2}, 4, ["--tp-size=2", "--pp-size=2"]),
        ({"dp_size": 4}, 4, ["--dp-size=4"]),
        ({"dp_size": 2}, 4, ["--tp-size=2", "--dp-size=2"]),
        ({"attn_dp_size": 8, "ep_size": 8}, 8, ["--tp-size=8", "--attn-dp-size=8", "--ep-size=8"]),
    ],
)
def test_shapes_on_gpus(options: dict[str, Any], gpus: int, said: list[str]) -> None:
    """By default tensor parallel over the GPUs that the other sizes leave."""
    assert flags(CUDA, options, gpus=gpus) == said


def test_tensor_parallel_on_a_cpu_shares_the_cores() -> None:
    """Two parts on four cores: two threads each, on cores of their own."""
    command = launch(AVX512, {"tp_size": 2}, cpus=4)
    assert "--tp-size=2" in command.argv
    assert command.env["OMP_NUM_THREADS"] == "2"
    assert command.env["SGLANG_CPU_OMP_THREADS_BIND"] == "0-1|2-3"


@pytest.mark.parametrize(
    ("options", "gpus", "words", "cure"),
    [
        ({"tp_size": 4}, 2, "tensor parallel 4 makes 4 parts, more than the 2 GPUs of a replica", "come to 4 GPUs"),
        ({"tp_size": 2}, 4, "tensor parallel 2 makes 2 parts, less than the 4 GPUs of a replica", "product is 4"),
        ({"attn_dp_size": 3}, 4, "attn_dp_size 3 does not divide the tensor parallel size 4", "a divisor of 4"),
        ({"ep_size": 8}, 4, "ep_size 8 does not divide the tensor parallel size 4", "a divisor of 4"),
    ],
)
def test_shapes_that_can_t_work(options: dict[str, Any], gpus: int, words: str, cure: str) -> None:
    """Refused before anything starts, with what to change."""
    with pytest.raises(InputError, match=words) as caught:
        launch(CUDA, options, gpus=gpus)
    assert caught.value.cure is not None
    assert cure in caught.value.cure


def test_other_flags_by_name() -> None:
    """Every kind of value, keys with dashes and without."""
    options = {
        "engine_args": {
            "chunked_prefill_size": 2048,
            "--schedule-policy": "fcfs",
            "disable-radix-cache": True,
            "cuda-graph-bs-decode": [1, 2],
            "preferred-sampling-params": {"top_k": 1},
            "dcp-replicate-q-proj": False,
        }
    }
    assert flags(CUDA, options, gpus=1) == [
        "--chunked-prefill-size=2048",
        "--schedule-policy=fcfs",
        "--disable-radix-cache",
        *("--cuda-graph-bs-decode", "1", "2"),
        '--preferred-sampling-params={"top_k": 1}',
        "--no-dcp-replicate-q-proj",
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
