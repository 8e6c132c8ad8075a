"""Running a script that fetches files, with a Python that has the library for it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import rayllm
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.sources import FetchProgress

_ROOT = str(Path(rayllm.__file__).parents[1])
_START = (
    "import importlib, sys; sys.path[0] = sys.argv[1]; script = importlib.import_module(sys.argv[2]); "
    # What else lies there would hide what is installed.
    "del sys.path[0]; script.main()"
)
"""Runs a module of RayLLM's in a Python that has no RayLLM: the module imports ours and the standard library alone."""
_KEPT_LINES = 15
_MEGA = 1_000_000


class FetchError(Exception):
    """What the script said went wrong: `kind` and the facts that belong to it."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(facts["words"])
        self.kind: str = facts["kind"]
        self.words: str = facts["words"]
        self.facts = facts
        self.missing = 0
        """Bytes that had still to come when a load broke off."""


def start(
    python: str, module: str, environ: Mapping[str, str], stray: IO[str], lock: int | None = None
) -> subprocess.Popen[str]:
    """Start the script `module`; what it and its library say to nobody in particular goes to `stray`."""
    return subprocess.Popen(
        [python, "-c", _START, _ROOT, module],
        env={**clean_environ(), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stray,
        text=True,
        pass_fds=() if lock is None else (lock,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchScript:
    """A script, ready to be asked about one model."""

    python: str
    module: str
    environ: Mapping[str, str]
    """What is added to the node's own."""
    asked: Mapping[str, Any] = field(repr=False)
    """What it has to know for whatever it does, secrets included."""
    whom: str
    """Who is asked for what: `the hub for org/name`."""
    report: FetchProgress
    lock: int
    """Descriptor of the model's lock. The script holds it, too: killed, this process is outlived for a moment."""

    def list_files(self, patience_s: float) -> dict[str, Any]:
        """The model's state and files: `{"commit": …, "files": {name: {size, digest, …}}}`.

        Raises:
            FetchError: the other side did not say.
        """
        self.report(f"asking {self.whom}")
        (listing,) = self._run({"do": "list", "patience_s": patience_s})
        return listing

    def get_files(self, commit: str, files: list[dict[str, Any]], blobs: Path, patience_s: float) -> None:
        """Load files into `blobs`, going on where an earlier try stopped; each is compared with its digest.

        Raises:
            FetchError: one could not be loaded; what came of it stays.
        """
        self._run({"do": "get", "commit": commit, "files": files, "folder": str(blobs), "patience_s": patience_s})

    def _run(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        with (
            tempfile.TemporaryFile("w+", errors="replace") as stray,
            start(self.python, self.module, self.environ, stray, self.lock) as process,
        ):
            heard = _Heard(self.report)
            if process.stdin and process.stdout:
                # Left open until the script has ended: when this process dies, the script does, too.
                process.stdin.write(json.dumps({**self.asked, **asked}) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    heard.line(json.loads(line))
            if process.wait():
                stray.seek(0)
                words = "\n".join(stray.read().splitlines()[-_KEPT_LINES:]) or f"exit status {process.returncode}"
                raise FetchError({"kind": "other", "words": words})
        return heard.listings


class _Heard:
    """What a script says."""

    def __init__(self, report: FetchProgress) -> None:
        self.listings: list[dict[str, Any]] = []
        self._report = report
        self._first: tuple[float, int] | None = None

    def line(self, said: dict[str, Any]) -> None:
        """Take one line."""
        if "error" in said:
            raise FetchError(said["error"])
        if "note" in said:
            self._report(said["note"])
        if "progress" in said:
            self._progress(said["progress"]["have"], said["progress"]["total"])
        if "listing" in said:
            self.listings.append(said["listing"])

    def _progress(self, have: int, total: int) -> None:
        """So many bytes of so many, and from the second time on how many a second since the first."""
        now = time.monotonic()
        before, had = self._first = self._first or (now, have)
        rate = f", {(have - had) / (now - before) / _MEGA:.0f} MB/s" if have < total and have > had else ""
        self._report(f"{have / _MEGA:.0f} of {total / _MEGA:.0f} MB{rate}")
