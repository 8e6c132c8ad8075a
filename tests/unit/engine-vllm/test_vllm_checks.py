"""What `rayllm doctor` asks of a machine for vLLM."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from rayllm import Device
from rayllm_engine_vllm.checks import DRIVER, checks


@pytest.mark.parametrize(
    ("machine", "features", "state"), [("x86_64", {"avx2"}, "ok"), ("x86_64", set(), "fail"), ("aarch64", set(), "ok")]
)
def test_a_cpus_instructions(machine: str, features: set[str], state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX2 on x86; any ARM will do."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (check,) = checks(Device(kind="cpu", features=frozenset(features)))
    assert check.state == state


@pytest.mark.parametrize(("driver", "state"), [(f"{DRIVER}.65.06", "ok"), ("535.104.05", "fail")])
def test_a_gpus_driver(driver: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New enough for the CUDA that the packages are built with, or what it is."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho {driver}\necho {driver}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = checks(Device(kind="cuda"))
    assert (check.state, driver in check.detail) == (state, True)


def test_no_driver_is_doctors_own_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core says that there is none, once for all engines."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(checks(Device(kind="cuda"))) == []
