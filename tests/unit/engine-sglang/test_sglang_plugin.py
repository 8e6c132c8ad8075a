"""The plugin as RayLLM finds it: whole environments, what stands in on a CPU, the checks of a machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import rayllm_engine_sglang
from rayllm import Device, Engine
from rayllm_engine_sglang.checks import DRIVER, checks
from rayllm_engine_sglang.options import SglangOptions

CPU = Device(kind="cpu")


def engine() -> Engine[SglangOptions]:
    """The engine that the plugin offers."""
    (offered,) = rayllm_engine_sglang.rayllm_engines()
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


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_lock_is_exact_and_whole(kind: str) -> None:
    """Exact versions by name alone, with SGLang in the range that counts as a match, and the GGUF reader."""
    environment = engine().environment_for(Device(kind=kind))
    pins = [Requirement(line) for line in environment.requires]
    assert environment.locked
    for pin in pins:
        assert pin.url is None
        assert [one.operator for one in pin.specifier] == ["=="]
        assert "+" not in str(pin.specifier)
    by_name = {pin.name: pin for pin in pins}
    assert {"sglang", "gguf", "accelerate", "torch", "transformers"} <= set(by_name)
    (version,) = by_name["sglang"].specifier
    assert Requirement(environment.provides).specifier.contains(Version(version.version))


def test_the_cpu_lock_has_no_cuda() -> None:
    """Nothing of NVIDIA's; what stands in for it lies in the CPU's environment alone."""
    names = {Requirement(line).name for line in engine().environment_for(CPU).requires}
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-", "flashinfer", "sglang-kernel"))]
    assert set(engine().environment_for(CPU).files) == {
        "sgl_kernel/__init__.py",
        "rayllm_sglang_on_cpu.py",
        "rayllm_sglang_lora_on_cpu.py",
        "rayllm_sglang_on_cpu.pth",
    }
    assert engine().environment_for(Device(kind="cuda")).files == {}


def laid_out(place: Path) -> dict[str, str]:
    """The variables for a Python that has the files of the CPU's environment, and a torch that takes down calls."""
    for path, text in engine().environment_for(CPU).files.items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text)
    (place / "torch.py").write_text(
        "class library:\n    declared = []\n"
        "    define = staticmethod(lambda name, schema: library.declared.append(name))\n"
    )
    (place / "torchvision.py").write_text("import torch\nDECLARED = list(torch.library.declared)\n")
    return {"PYTHONPATH": str(place)}


def test_torchvision_finds_its_operators_declared(tmp_path: Path) -> None:
    """Before its own code runs, and once; nothing happens before somebody imports it. SGLang is told to use the CPU."""
    code = (
        "import os, sys, rayllm_sglang_on_cpu as here; assert 'torch' not in sys.modules\n"
        "import torchvision; print(torchvision.DECLARED, os.environ['SGLANG_USE_CPU_ENGINE'])\n"
        "assert not [one for one in sys.meta_path if getattr(one, '__module__', '') == here.__name__]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=laid_out(tmp_path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "['torchvision::nms', 'torchvision::qnms'] 1"


def test_kernels_that_are_none(tmp_path: Path) -> None:
    """Names for a CPU can be imported, and say what they are once they are called; others are missing."""
    code = """
import sgl_kernel
from sgl_kernel import copy_all_layer_kv_cache_cpu as kernel
print(sgl_kernel.__version__, hasattr(sgl_kernel, "gelu_and_mul"))
try:
    kernel(1, a=2)
except NotImplementedError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=laid_out(tmp_path), capture_output=True, text=True, check=True
    )
    version, words = done.stdout.splitlines()
    assert version == "0.4.10 False"
    assert words.startswith("copy_all_layer_kv_cache_cpu of sgl_kernel has no build for CPUs")


@pytest.mark.parametrize(("version", "state"), [("2.36", "ok"), ("2.34", "ok"), ("2.31", "fail")])
def test_a_machines_c_library(version: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGLang's wheels are for glibc 2.34 and newer."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", version))
    (check,) = checks(CPU)
    assert check.state == state


@pytest.mark.parametrize(("driver", "state"), [(f"{DRIVER}.65.06", "ok"), ("535.104.05", "fail")])
def test_a_gpus_driver(driver: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New enough for the CUDA that the packages are built with, or what it is."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho {driver}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = checks(Device(kind="cuda"))
    assert (check.state, driver in check.detail) == (state, True)


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "options.max_total_tokens"),
        (
            (
                "ValueError: Warning: User-specified context_length (999999) is greater than the derived "
                "context_length (2048). This may lead to incorrect model outputs or CUDA errors."
            ),
            "set it to 2048 at most",
        ),
        ("NotImplementedError: fused_sigmoid_mul_cpu of sgl_kernel has no build for CPUs", "fused_sigmoid_mul_cpu"),
        ("ValueError: Couldn't instantiate the backend tokenizer from one of: ", "engine_args: {tokenizer-path:"),
        (
            "Quantization method specified in the model config (gptq) does not match the quantization method",
            "quantised with gptq already",
        ),
        ("RuntimeError: Chat template nosuch is not a built-in template name or a valid", "'nosuch'"),
        (
            "RuntimeError: No accelerator (CUDA, XPU, HPU, NPU, MUSA, MPS) or platform plugin is available.",
            "nvidia-smi",
        ),
        ("ValueError: Cannot find model module. 'NoSuchForCausalLM' is not a registered model", "architecture"),
        ("safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete", "not whole"),
        ("launch_server.py: error: argument --tool-call-parser: invalid choice: 'nosuch' (choose", "'nosuch'"),
    ],
)
def test_explained_failures(log: str, advice: str) -> None:
    """Its own and those that all engines share."""
    offered = engine()
    assert offered.explain is not None
    told = offered.explain(f"INFO starting\n{log}\nkill_process_tree called: parent_pid=1")
    assert told is not None
    assert advice in told


def test_what_is_not_known_is_left_to_the_log() -> None:
    """No advice rather than a wrong one: what SGLang says whenever a part of it ends is no cause."""
    offered = engine()
    assert offered.explain is not None
    ends = "SIGQUIT received. signum=None, frame=None. It usually means one child failed."
    ignored = (
        "Ignore import error when loading sglang.srt.models.grok: '_OpNamespace' 'sgl_kernel' object has no attribute"
    )
    assert offered.explain(f"{ignored}\n{ends}") is None
