"""Building one environment with uv, in place: an environment can't be moved."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from rayllm.engines import Device, Environment
from rayllm.errors import RayllmError
from rayllm.serving.prepare import interpreters
from rayllm.serving.prepare.marker import Built, mark, now
from rayllm.serving.prepare.resolving import leaving_out, resolved, version_missing
from rayllm.serving.prepare.room import require_room
from rayllm.serving.prepare.torch_builds import cpu_torch_flags
from rayllm.serving.prepare.uv import Uv
from rayllm.sources import FetchProgress


def python_request(wanted: Environment) -> str:
    """The Python that uv is asked for: this one's version if the engine runs on it, else whatever uv finds in range."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    fits = SpecifierSet(wanted.python).contains(platform.python_version(), prereleases=True)
    return here if fits else wanted.python


def digest(wanted: Environment) -> str:
    """SHA-256 of what is installed."""
    files = [part for path in sorted(wanted.files) for part in (path, wanted.files[path])]
    without = [] if wanted.locked else [f"-{name}" for name in wanted.without]
    return hashlib.sha256("\n".join([*wanted.requires, *files, *without]).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build, by whoever holds the lock."""

    folder: Path
    wanted: Environment
    device: Device
    report: FetchProgress
    lock: int
    """Descriptor of the lock, which uv holds, too: it outlives a killed parent for a moment."""
    version: str | None
    """Of the engine, where a person asked for another than its plugin's."""

    def run(self) -> str:
        """The interpreter of the finished environment; the marker comes last.

        What a killed build left is thrown away, since a package may be half there while its metadata is whole; what it
        downloaded is in uv's cache, so the second run costs seconds.

        Raises:
            RayllmError: it can't be built; with uv's own words and what to do.
        """
        tool = Uv.find(self.report)
        self._clear()
        self._make(tool)
        python = str(self.folder / "bin" / "python")
        try:
            self._install(tool, python)
        except RayllmError as error:
            if not self.version:
                raise
            raise version_missing(error, tool, python, self.wanted.needed, self.folder) from None
        self._lay_files(python)
        # what is built for GPUs may ask for their driver as it is imported
        tried = self.device.here or self.device.kind == "cpu"
        if tried and (imports := self.wanted.imports):
            self.report(f"checking that {', '.join(imports)} can be imported")
            interpreters.check_imports(python, imports, self.folder.name)
        facts = {"requirements": digest(self.wanted), "uv": tool.version(), "version": self.version or ""}
        mark(self.folder, Built(python=python, date=now(), **facts))
        return python

    def _clear(self) -> None:
        """Make room, and see that there is enough."""
        if self.folder.exists():
            self.report("clearing an unfinished build")
            shutil.rmtree(self.folder)
        else:
            # What an unfinished build has downloaded takes its room already, in uv's cache.
            require_room(self.folder, self.wanted.disk, f"the environment {self.folder.name}")
        self.folder.parent.mkdir(parents=True, exist_ok=True)

    def _make(self, tool: Uv) -> None:
        request = python_request(self.wanted)
        python = request if request == self.wanted.python else sys.executable
        self.report(f"building {self.folder.name}")
        tool.run(["venv", "--no-project", "--python", python, str(self.folder)], self.report, self.lock)

    def _install(self, tool: Uv, python: str) -> None:
        """Install what is wanted; what no lock names whole is resolved first, where it may bring torch."""
        wanted, requirements = self.wanted, self.folder / "requirements.txt"
        requirements.write_text("\n".join(wanted.requires) + "\n")
        flags = ["--no-deps"] if wanted.locked else leaving_out(self.folder, wanted.without)
        if self.device.kind == "cpu":
            every = wanted.requires
            if not wanted.locked:
                every = resolved(tool, python, requirements, flags, self.report)
            flags += cpu_torch_flags(tool, python, every, self.report)
        tool.run(["pip", "install", "--python", python, *flags, "-r", str(requirements)], self.report, self.lock)

    def _lay_files(self, python: str) -> None:
        for path, text in self.wanted.files.items():
            file = interpreters.site_packages(python) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
