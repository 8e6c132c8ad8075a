"""What a replica computes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayllm import Device
from rayllm.serving.prepare.devices import detect


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 rdtscp\n", {"avx2", "avx512f", "avx512_bf16"}),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", {"asimd", "bf16"}),
        ("processor\t: 0\n", set()),
    ],
)
def test_cpu_features(tmp_path: Path, text: str, features: set[str]) -> None:
    """The kernel's own names, those alone that an engine may ask about."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert detect(0, cpuinfo) == Device(kind="cpu", features=frozenset(features))


def test_a_machine_without_cpuinfo(tmp_path: Path) -> None:
    """No file, no features: engines then take what is right everywhere."""
    assert detect(0, tmp_path / "missing") == Device(kind="cpu")


def test_gpus_are_cuda() -> None:
    """A replica with GPUs computes on them, whatever the CPU can do."""
    assert detect(2) == Device(kind="cuda")


def test_another_machine_that_will_run_it() -> None:
    """Says so, so that nothing is tried here that needs its GPUs."""
    assert [detect(gpus, here=False).here for gpus in (0, 1)] == [False, False]
    assert detect(0).here
