"""uv, the tool that builds environments and fetches distributions: found on the node, or put under RAYLLM_HOME."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import RayllmError
from rayllm.paths import home
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.pip_settings import UvSettings
from rayllm.serving.prepare.uv_errors import cure_for
from rayllm.serving.processes.file_lock import locked
from rayllm.sources import FetchProgress

_KEPT_LINES = 40
_UNTOLD = (" +", "Activate with", "Using ")
"""Beginnings of lines that nobody reads: a hundred ` + name==1.0`, and what is meant for a person's own shell."""


@dataclass(frozen=True, slots=True)
class Uv:
    """A uv that runs, and the settings it gets from this machine."""

    path: str
    settings: UvSettings

    @classmethod
    def find(cls, report: FetchProgress) -> Uv:
        """The node's uv, else one of our own under RAYLLM_HOME.

        Raises:
            RayllmError: there is none and it can't be installed; with pip's own words.
        """
        home().mkdir(parents=True, exist_ok=True)
        return cls(installed() or _bring(report), UvSettings.of_this_machine())

    def run(self, args: Sequence[str], report: FetchProgress, lock: int | None = None) -> None:
        """Run to the end, reporting uv's lines as they come.

        Args:
            args: subcommand and flags.
            report: told each line.
            lock: descriptor of a lock that uv shall hold too, so that it outlasts a killed parent.

        Raises:
            RayllmError: uv failed; with its own words, and what to do by cause.
        """
        process = subprocess.Popen(
            self._argv(args),
            env=self._environ(),
            # Away from any project, whose settings are not meant for us.
            cwd=home(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=() if lock is None else (lock,),
        )
        last: deque[str] = deque(maxlen=_KEPT_LINES)
        with process:
            for line in process.stderr or ():
                last.append(line.rstrip())
                if line.strip() and not line.startswith(_UNTOLD):
                    report(line.strip())
        if process.returncode:
            self._fail(args, last)

    def succeeds(self, args: Sequence[str]) -> bool:
        """Whether uv does it without an error, saying nothing."""
        done = subprocess.run(
            self._argv(args),
            env=self._environ(),
            cwd=home(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def version(self) -> str:
        """As uv itself says: `uv 0.9.2`."""
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def _argv(self, args: Sequence[str]) -> list[str]:
        flags = self.settings.flags if args[0] == "pip" else ()
        return [self.path, *args, *flags]

    def _environ(self) -> dict[str, str]:
        """UV_* passes through; pip's settings stand where there is no uv setting."""
        return {**self.settings.environ, **clean_environ(), "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}

    def _fail(self, args: Sequence[str], last: Sequence[str]) -> None:
        start = next((number for number, line in enumerate(last) if line.startswith("error")), 0)
        cause = "\n".join(list(last)[start:]).strip()
        raise RayllmError(
            f"uv {' '.join(args[:2])} failed",
            cause=cause or None,
            cure=cure_for(cause, home()),
            topic="environment-build",
        )


def installed() -> str | None:
    """The node's uv: beside this interpreter, from the `uv` distribution, on PATH, or brought earlier."""
    places = [Path(sys.executable).with_name("uv"), _from_distribution(), _on_path(), _own() / "bin" / "uv"]
    return next((str(place) for place in places if place and place.is_file()), None)


def _from_distribution() -> Path | None:
    try:
        from uv import find_uv_bin
    except ImportError:
        return None
    try:
        return Path(find_uv_bin())
    except FileNotFoundError:
        return None


def _on_path() -> Path | None:
    found = shutil.which("uv")
    return Path(found) if found else None


def _own() -> Path:
    return home() / "tools" / "uv"


def _bring(report: FetchProgress) -> str:
    """Install uv with pip into an environment of its own."""
    folder = _own()
    uv = folder / "bin" / "uv"
    with locked(folder.with_name(".uv.lock"), report, "another process that installs uv"):
        if uv.is_file():
            return str(uv)
        report("installing uv")
        errors = [_make_venv(module, folder) for module in ("venv", "virtualenv")]
        python = folder / "bin" / "python"
        done = _tool([str(python), "-m", "pip", "install", "--quiet", "uv>=0.9"]) if None in errors else None
        if done is None or done.returncode:
            cause = done.stderr.strip() if done else "\n".join(error for error in errors if error)
            raise RayllmError(
                "this node has no uv, and it can't be installed",
                cause=cause or None,
                cure=f"install uv on the node: `{sys.executable} -m pip install uv`",
                topic="environment-build",
            )
    return str(uv)


def with_pip(folder: Path) -> str:
    """The interpreter of a new environment that has pip, which `uv` does not replace in all it does.

    Raises:
        RayllmError: it can't be made; with Python's own words.
    """
    errors = [_make_venv(module, folder) for module in ("venv", "virtualenv")]
    if None not in errors:
        raise RayllmError(
            "an environment with pip can't be made",
            cause="\n".join(error for error in errors if error),
            cure=f"install virtualenv: `{sys.executable} -m pip install virtualenv`",
            topic="environment-build",
        )
    return str(folder / "bin" / "python")


def _make_venv(module: str, folder: Path) -> str | None:
    """Make an environment that has pip, unless there is one; what went wrong, or None."""
    if (folder / "bin" / "pip").exists():
        return None
    done = _tool([sys.executable, "-m", module, str(folder)])
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip()


def _tool(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # a platform's PIP_USER, or pip's own setting, would lead pip out of the environment
    return subprocess.run(
        argv,
        env={**clean_environ(), "PIP_USER": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
