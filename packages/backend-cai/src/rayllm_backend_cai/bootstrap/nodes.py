"""The nodes' own Python environment, built in place with uv: an environment can't be moved. Standard library."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayllm.errors import ClusterError, RayllmError
from rayllm_backend_cai.bootstrap.drafts import write_whole

if TYPE_CHECKING:
    from rayllm.sources import FetchProgress
    from rayllm_backend_cai.bootstrap.asked import Asked

ROOM = 1_000_000_000
"""Bytes that Ray and the rest take, and a little more."""
_IMPORT_S = 600.0
"""Seconds that importing Ray may take from a shared disk, with nothing of it in memory."""
_LAST_LINES = 5
_CHECK = """
import importlib, importlib.metadata, json, sys, sysconfig
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
print(json.dumps({one.metadata["Name"]: one.version for one in found}))
"""


def ensure_nodes(asked: Asked, code: Path, report: FetchProgress) -> Path:
    """The interpreter of the finished environment, which is built first if need be.

    Raises:
        RayllmError: it can't be built; with uv's own words and what to do.
    """
    folder = asked.serving_folder
    python = folder / "bin" / "python"
    if _is_there(asked, python):
        return python
    wanted = asked.wanted_serving()
    _require_python(wanted["python"])
    # only now, since these need Python 3.10
    from rayllm.paths import home
    from rayllm.serving.prepare.room import full_disk_told
    from rayllm.serving.processes.file_lock import locked, look_anew

    lock = folder.with_name(f".{folder.name}.lock")
    with full_disk_told(home()), locked(lock, report, "another job that builds the same environment") as handle:
        look_anew(folder)
        if not _is_there(asked, python):  # else another one has finished it while this one waited
            _build(asked, wanted, code, report, handle)
    return python


def _is_there(asked: Asked, python: Path) -> bool:
    """Whether it is finished, and leads to a Python that this runtime has."""
    return asked.ready.is_file() and python.exists()


def _require_python(wanted: str) -> None:
    here = ".".join(platform.python_version_tuple()[:2])
    if here != wanted:
        raise ClusterError(
            f"the nodes' environment is for Python {wanted}, and this runtime has Python {here}",
            cause=f"{sys.executable} is Python {platform.python_version()}",
            cure="name runtimes with the same version of Python under `runtime:` of head and workers, then rayllm up",
        )


def _build(asked: Asked, wanted: dict[str, Any], code: Path, report: FetchProgress, lock: int) -> None:
    """Build it; the marker comes last.

    What a killed build left is thrown away, since a package may be half there while its metadata is whole; what it
    downloaded is in uv's cache.
    """
    from rayllm.serving.prepare import wheelhouse
    from rayllm.serving.prepare.room import require_room
    from rayllm.serving.prepare.uv import Uv

    wheelhouse.use(asked.packages())
    folder = asked.serving_folder
    tool = Uv.find(report)
    if folder.exists():
        report("clearing an unfinished build")
        shutil.rmtree(folder)
    else:
        require_room(folder, ROOM, "the nodes' environment")
    report(f"building it with {tool.version()} for Python {platform.python_version()}")
    tool.run(["venv", "--no-project", "--python", sys.executable, str(folder)], report, lock)
    python, requirements = folder / "bin" / "python", folder / "requirements.txt"
    requirements.write_text("\n".join(wanted["requirements"]) + "\n", encoding="utf-8")
    tool.run(["pip", "install", "--python", str(python), "-r", str(requirements)], report, lock)
    report(f"checking that {', '.join(wanted['imports'])} can be imported")
    facts = {"python": platform.python_version(), "uv": tool.version(), "versions": _try(python, wanted, code)}
    mark(asked.ready, facts)


def mark(file: Path, facts: dict[str, Any]) -> None:
    """Write a file that says that something is finished, in one step."""
    write_whole(file, json.dumps(facts, indent=1) + "\n")


def environ_with(code: Path) -> dict[str, str]:
    """What a Python gets that shall find the modules of this folder and of its own environment, and no others."""
    from rayllm.serving.prepare.clean_environ import clean_environ

    return {**clean_environ(), "PYTHONPATH": str(code), "PYTHONUNBUFFERED": "1"}


def _try(python: Path, wanted: dict[str, Any], code: Path) -> dict[str, str]:
    """Import what nodes need; the versions of all that is installed.

    Raises:
        RayllmError: something can't be imported; with the interpreter's last lines.
    """
    argv = [str(python), "-c", _CHECK, json.dumps(wanted["imports"])]
    try:
        done = subprocess.run(
            argv, env=environ_with(code), capture_output=True, text=True, timeout=_IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _broken([f"it took more than {_IMPORT_S:.0f} s"]) from None
    if done.returncode:
        raise _broken(done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _broken(said: Sequence[str]) -> RayllmError:
    return RayllmError(
        "the nodes' environment was installed, but what nodes need can't be imported",
        cause="\n".join(said[-_LAST_LINES:]),
        cure="rayllm up builds it anew; if that does not help, the package index has versions that don't fit together",
        topic="environment-broken",
    )
