"""Questions to Python interpreters: do they run, and what is installed in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from rayllm.errors import InputError, RayllmError
from rayllm.serving.prepare.clean_environ import clean_environ

_RUN_S = 60.0
_IMPORT_S = 600.0
"""Seconds that importing an engine may take, with its files not yet in memory."""
_VERSION_OF = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def satisfied_here(requirement: str) -> bool:
    """Whether the running interpreter has a distribution that satisfies `requirement`."""
    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def python_version(python: str) -> str | None:
    """Version of the Python at `python`, or None if it does not start."""
    try:
        done = _run([python, "-c", "import platform; print(platform.python_version())"])
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version_of(python: str, distribution: str) -> str | None:
    """Version of a distribution that `python` has, or None.

    Raises:
        OSError: there is no such interpreter.
    """
    if python == sys.executable:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return None
    done = _run([python, "-c", _VERSION_OF, distribution])
    return done.stdout.strip() or None if done.returncode == 0 else None


def named(choice: str) -> Path:
    """The interpreter that a person's choice means, whether or not one is there."""
    path = Path(choice).expanduser()
    return path / "bin" / "python" if path.is_dir() else path


def at(choice: str) -> str:
    """The interpreter a person named: a virtual environment's folder, or the interpreter itself.

    Raises:
        InputError: there is none.
    """
    python = named(choice)
    if python_version(str(python)) is None:
        raise InputError(
            f"environment {choice!r}: there is no Python that runs at {python}",
            cure="name a virtual environment's folder or an interpreter on the node, or write `environment: auto`",
            topic="environment-packages",
        )
    return str(python)


def require(python: str, requirement: str, engine: str, why: str = "") -> None:
    """Check that `python` has what an engine needs; `why` says for what, where it is not for the engine itself.

    Raises:
        InputError: it lacks the distribution, or has another version.
    """
    wanted = Requirement(requirement)
    found = version_of(python, wanted.name)
    if found is None or not wanted.specifier.contains(found, prereleases=True):
        raise InputError(
            f"engine {engine!r} needs {requirement}{why}, and {python} has "
            + (f"{wanted.name} {found}" if found else f"no {wanted.name}"),
            cure=f"install {requirement} there, or write `environment: auto` to have one built",
            topic="environment-packages",
        )


def site_packages(python: str) -> Path:
    """Where the packages of an environment lie that has been made by us."""
    return Path(_run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip())


def check_imports(python: str, modules: Sequence[str], environment: str) -> None:
    """Import the modules once in a process of its own.

    Raises:
        RayllmError: one can't be imported; with the interpreter's last lines.
    """
    try:
        done = _run([python, "-c", "import " + ", ".join(modules)], _IMPORT_S)
    except subprocess.TimeoutExpired:
        cause = f"importing {', '.join(modules)} took more than {_IMPORT_S:.0f} s"
    else:
        if done.returncode == 0:
            return
        cause = "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit status {done.returncode}"
    raise RayllmError(
        f"the environment {environment} was installed, but {', '.join(modules)} can't be imported",
        cause=cause,
        cure=_import_cure(cause),
        topic="environment-broken",
    )


def run_script(python: str, script: Path, *arguments: str, code: str = "") -> str:
    """What a script prints that `python` runs; it gets `code` on standard input.

    Raises:
        RayllmError: it failed; with its last lines.
    """
    try:
        done = _run([python, str(script), *arguments], _IMPORT_S, code)
        cause = "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        cause = f"it took more than {_IMPORT_S:.0f} s"
    except OSError as error:
        cause = str(error)
    else:
        if done.returncode == 0:
            return done.stdout
    raise RayllmError(f"{python} can't run {script.name}", cause=cause)


def _import_cure(cause: str) -> str:
    """What to do about a failed import."""
    if "libcu" in cause or "libnv" in cause or "torchvision::nms" in cause:
        return (
            "a CUDA build of torch was installed where there is no CUDA: put an index with torch's CPU builds in reach "
            "(pip's extra-index-url or UV_INDEX), then start again"
        )
    return "start again to build it anew; if that does not help, the engine's requirements don't fit this machine"


def _run(argv: Sequence[str], timeout_s: float = _RUN_S, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run to the end, with nothing of this process's Python in the environment."""
    return subprocess.run(
        argv,
        env=clean_environ(),
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
