"""What is looked at before an engine starts: in seconds, and where something is wrong with cause and cure.

An engine tells such things after a minute of imports, in its own words, and once for each try.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayllm.arguments import dump
from rayllm.engines import AnyEngine, Device
from rayllm.errors import DeploymentError, RayllmError
from rayllm.paths import home
from rayllm.serving.prepare import interpreters, marker
from rayllm.serving.processes.file_lock import locked
from rayllm.sources import FetchProgress
from rayllm.versions import is_made_for

_SMI_S = 30.0
_QUERY = "--query-gpu=index,uuid,driver_version"
DRIVERS: Mapping[int, int] = {11: 450, 12: 525, 13: 580}
"""By CUDA's major version, the oldest major version of NVIDIA's driver that runs it (CUDA Toolkit Release Notes, "CUDA
Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility")."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What `nvidia-smi` tells of this node."""

    ids: frozenset[str]
    """Numbers and UUIDs of the GPUs."""
    driver: str
    """Version of NVIDIA's driver: `580.65.06`."""


def require_device(device: Device, gpu_ids: Sequence[str]) -> Gpus | None:
    """See that the GPUs that Ray gave to a replica are there; None on a CPU.

    Args:
        device: what the engine computes on.
        gpu_ids: Ray's ids of them: numbers, or UUIDs (also of a part of a GPU).

    Raises:
        DeploymentError: there is no driver, it does not answer, or it knows no such GPU.
    """
    if device.kind != "cuda":
        return None
    found = _ask_driver()
    # A part of a GPU (MIG) is not in this list; its number tells nothing either.
    missing = [gpu for gpu in gpu_ids if gpu not in found.ids and not gpu.startswith("MIG-")]
    if missing:
        known = ", ".join(sorted(one for one in found.ids if one.isdigit())) or "none"
        raise DeploymentError(
            f"Ray gave this replica the GPUs {', '.join(gpu_ids)}, and the node has no {', '.join(missing)}",
            cause=f"nvidia-smi knows {known}",
            cure="start Ray on this node with as many GPUs as it has (--num-gpus), or look where the GPU went: dmesg",
            topic="gpu",
        )
    return found


def require_fit(
    engine: AnyEngine,
    device: Device,
    *,
    python: str,
    version: str | None,
    gpus: Gpus | None,
    report: FetchProgress,
) -> None:
    """See that an environment fits this node: the driver is new enough for its CUDA, and the engine can be imported.

    Args:
        engine: what is to start.
        device: what it computes on.
        python: the interpreter of its environment.
        version: the model's `version:`.
        gpus: what `require_device` found.
        report: told when there is a wait.

    Raises:
        DeploymentError: something does not fit; with cause and cure.
    """
    if gpus:
        _require_driver(python, gpus)
    if engine.check and is_made_for(engine, device, version):
        for check in engine.check(device):
            if check.state == "fail":
                raise DeploymentError(
                    f"{engine.name} can't run on this node", cause=check.detail, cure=check.cure, topic="gpu"
                )
    _require_imports(engine, device, python, report)


def cuda_of(python: str) -> str | None:
    """The CUDA that an environment's torch is built for: `13.0`; None for a build without, or no torch.

    It is read, not imported: that would take seconds.
    """
    for file in Path(python).parents[1].glob("lib*/python*/*-packages/torch/version.py"):
        if found := re.search(r"^cuda\b[^=]*= *'([0-9.]+)'", file.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return None


def _require_driver(python: str, gpus: Gpus) -> None:
    cuda = cuda_of(python)
    oldest = DRIVERS.get(int(cuda.partition(".")[0])) if cuda else None
    major = gpus.driver.partition(".")[0]
    if oldest and major.isdigit() and int(major) < oldest:
        raise DeploymentError(
            f"NVIDIA's driver {gpus.driver} is too old for CUDA {cuda}, which the environment's torch is built for",
            cause=f"CUDA {cuda} needs the driver {oldest} or newer; the environment is {python}",
            cure="upgrade the node's driver, or take a `version:` of the engine that is built for an older CUDA",
            topic="gpu",
        )


def _ask_driver() -> Gpus:
    program = shutil.which("nvidia-smi")
    if program is None:
        raise DeploymentError(
            "the model holds GPUs, and this node has no nvidia-smi",
            cure="install NVIDIA's driver on the node (in a container: with its `utility` capability), or set "
            "resources.gpus: 0",
            topic="gpu",
        )
    try:
        done = subprocess.run(
            [program, _QUERY, "--format=csv,noheader"], capture_output=True, text=True, timeout=_SMI_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _ailing(f"nvidia-smi did not answer within {_SMI_S:.0f} s") from None
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    if done.returncode or not rows or any(len(row) != 3 for row in rows):  # noqa: PLR2004 - as asked for
        raise _ailing((done.stdout + done.stderr).strip() or f"exit status {done.returncode}")
    return Gpus(frozenset(one for row in rows for one in row[:2]), rows[0][2])


def _ailing(said: str) -> DeploymentError:
    return DeploymentError(
        "NVIDIA's driver does not answer on this node",
        cause=said,
        cure="repair the driver; after an upgrade the node has to be started anew",
        topic="gpu",
    )


def _require_imports(engine: AnyEngine, device: Device, python: str, report: FetchProgress) -> None:
    """Import the engine once for each content of an environment that RayLLM did not build: that tried it at its end."""
    modules = engine.environment_for(device).imports
    if not modules or marker.read(Path(python).parents[1]):
        return
    installed = interpreters.run_script(python, Path(dump.__file__))
    content = "\0".join([python, installed, *modules])
    known = home() / "imported" / hashlib.sha256(content.encode()).hexdigest()[:16]
    with locked(known.with_suffix(".lock"), report, f"another process that tries {python}"):
        if known.exists():
            return
        report(f"checking that {', '.join(modules)} can be imported: up to a minute, this once")
        try:
            interpreters.check_imports(python, modules, python)
        except RayllmError as error:
            raise DeploymentError(
                f"{', '.join(modules)} can't be imported with {python}",
                cause=error.cause,
                cure="repair that environment, or write `environment: auto` to have one built",
                topic="environment-broken",
            ) from error
        known.touch()
