"""What a replica looks at before its engine starts, with a stand-in for `nvidia-smi`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rayllm import Check, Command, DeploymentError, Device, Engine, Environment, Options
from rayllm.serving.prepare.before_start import Gpus, cuda_of, require_device, require_fit

CPU, CUDA = Device(kind="cpu"), Device(kind="cuda")
TWO = """echo "0, GPU-aaaa, 580.65.06"; echo "1, GPU-bbbb, 580.65.06" """
Smi = Callable[[str], None]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """Write an `nvidia-smi` that is the only one on PATH."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


def environment(folder: Path, cuda: str | None) -> str:
    """An environment with a torch that is built for this CUDA, as far as can be read."""
    torch = folder / "env/lib/python3.11/site-packages/torch"
    torch.mkdir(parents=True)
    (torch / "version.py").write_text(f"__version__ = '2.13.0'\ncuda: Optional[str] = {cuda!r}\nhip = None\n")
    return str(folder / "env/bin/python")


def engine(wanted: Environment, *checks: Check) -> Engine[Options]:
    """An engine that is never started."""
    return Engine(
        name="tiny",
        summary="",
        options=Options,
        environment=wanted,
        commands=lambda _: [Command()],
        check=lambda _: checks,
    )


def silent(detail: str) -> None:
    """Report to nobody."""


def test_gpus_that_are_there(smi: Smi) -> None:
    """By number, by UUID, or a part of one; a CPU asks nobody."""
    smi(TWO)
    found = require_device(CUDA, ["1", "GPU-aaaa", "MIG-cccc"])
    assert found == Gpus(frozenset({"0", "1", "GPU-aaaa", "GPU-bbbb"}), "580.65.06")
    smi("exit 9")
    assert require_device(CPU, []) is None


@pytest.mark.parametrize(
    ("script", "message", "cause"),
    [
        (TWO, "the GPUs 0, 7, and the node has no 7", "nvidia-smi knows 0, 1"),
        ("echo couldn't communicate with the driver; exit 9".replace("'", ""), "does not answer", "communicate with"),
        ("exit 0", "does not answer", "exit status 0"),
        ("echo No devices were found", "does not answer", "No devices were found"),
    ],
)
def test_gpus_that_are_not(smi: Smi, script: str, message: str, cause: str) -> None:
    """What the driver said is the cause; there is always something to do."""
    smi(script)
    with pytest.raises(DeploymentError, match=message) as caught:
        require_device(CUDA, ["0", "7"])
    assert cause in str(caught.value.cause)
    assert caught.value.cure


@pytest.mark.usefixtures("smi")
def test_no_driver_at_all() -> None:
    """The model asks for what the node does not have."""
    with pytest.raises(DeploymentError, match="has no nvidia-smi") as caught:
        require_device(CUDA, ["0"])
    assert "install NVIDIA's driver" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("cuda", "driver", "fits"),
    [("13.0", "580.65.06", True), ("13.0", "535.104.05", False), ("12.8", "535.104.05", True), (None, "470.1", True)],
)
def test_a_driver_against_the_environments_cuda(
    tmp_path: Path, smi: Smi, cuda: str | None, driver: str, *, fits: bool
) -> None:
    """What torch was built for is read from its own file; nothing is imported."""
    python = environment(tmp_path, cuda)
    assert cuda_of(python) == cuda
    gpus = Gpus(frozenset({"0"}), driver)

    def check() -> None:
        require_fit(engine(Environment([])), CUDA, python=python, version=None, gpus=gpus, report=silent)

    if fits:
        check()
    else:
        with pytest.raises(DeploymentError, match=f"driver {driver} is too old for CUDA {cuda}") as caught:
            check()
        assert "the driver 580 or newer" in str(caught.value.cause)


def test_a_plugins_own_check_stops_the_start(smi: Smi) -> None:
    """At the version that it is made for; what it only warns of does not."""
    bad = Check(name="tiny", state="fail", detail="this CPU has no AVX2", cure="take another")
    wanted = Environment(["pytest==1.0.0"])
    odd = Check(name="tiny", state="warn", detail="slow")
    require_fit(engine(wanted, odd), CPU, python=sys.executable, version=None, gpus=None, report=silent)
    with pytest.raises(DeploymentError, match="tiny can't run on this node") as caught:
        require_fit(engine(wanted, odd, bad), CPU, python=sys.executable, version=None, gpus=None, report=silent)
    assert (caught.value.cause, caught.value.cure) == (bad.detail, bad.cure)
    require_fit(engine(wanted, bad), CPU, python=sys.executable, version="2", gpus=None, report=silent)


def test_a_persons_own_environment_is_imported_once(smi: Smi) -> None:
    """Until something else is installed in it; one that fails is tried anew each time."""
    told: list[str] = []

    def check(module: str) -> None:
        wanted = Environment(["pytest"], imports=(module,))
        require_fit(engine(wanted), CPU, python=sys.executable, version=None, gpus=None, report=told.append)

    check("json")
    check("json")
    assert told == ["checking that json can be imported: up to a minute, this once"]
    for _ in range(2):
        with pytest.raises(DeploymentError, match="rayllm_not_there can't be imported with") as caught:
            check("rayllm_not_there")
        assert "No module named" in str(caught.value.cause)
    assert len(told) == 3
