"""Running `hub_script.py`, with a Python that has huggingface_hub."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rayllm.engines import Device, Environment
from rayllm.serving.prepare import interpreters
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.environments import build_environment
from rayllm.serving.secrets import secret
from rayllm.sources import FetchProgress

TOKEN = "HF_TOKEN"  # noqa: S105 - the name of the secret
LIBRARY = "huggingface_hub>=1,<3"
_SCRIPT = Path(__file__).with_name("hub_script.py")
_KEPT_LINES = 15
_MEGA = 1_000_000


class HubError(Exception):
    """What the script said went wrong: `kind` and the facts that belong to it."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(facts["words"])
        self.kind: str = facts["kind"]
        self.words: str = facts["words"]
        self.facts = facts
        self.missing = 0
        """Bytes that had still to come when a load broke off."""


@dataclass(frozen=True, slots=True)
class HubScript:
    """The script, ready to be asked about one repository."""

    repo: str
    python: str
    report: FetchProgress
    lock: int
    """Descriptor of the repository's lock. The script holds it, too: killed, this process is outlived for a moment."""
    token: str | None = field(repr=False)

    @classmethod
    def ready(cls, repo: str, report: FetchProgress, lock: int) -> HubScript:
        """With this Python where it has the library, else with an environment of its own, built once.

        Raises:
            RayllmError: it can't be built; with uv's own words and what to do.
        """
        if interpreters.satisfied_here(LIBRARY):
            python = sys.executable
        else:
            wanted = Environment([LIBRARY], imports=["huggingface_hub"])
            python = build_environment("hub", wanted, Device(kind="cpu"), report)
        return cls(repo, python, report, lock, secret(TOKEN))

    def list_files(self, revision: str, patience_s: float) -> dict[str, Any]:
        """The commit that a revision is, and its files: `{"commit": …, "files": {name: {size, digest, lfs}}}`.

        Raises:
            HubError: the hub did not say.
        """
        self.report(f"asking the hub for {self.repo}")
        (listing,) = self._run({"do": "list", "revision": revision, "patience_s": patience_s})
        return listing

    def get_files(self, commit: str, files: list[dict[str, Any]], blobs: Path, patience_s: float) -> None:
        """Load files into `blobs`, going on where an earlier try stopped; each is compared with its digest.

        Raises:
            HubError: one could not be loaded; what came of it stays.
        """
        asked = {"do": "get", "commit": commit, "files": files, "folder": str(blobs), "patience_s": patience_s}
        self._run(asked)

    def _run(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        with tempfile.TemporaryFile("w+", errors="replace") as stray, self._start(stray) as process:
            listings: list[dict[str, Any]] = []
            if process.stdin and process.stdout:
                # Left open until the script has ended: when this process dies, the script does, too.
                process.stdin.write(json.dumps({**asked, "repo": self.repo, "token": self.token}) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    listings += self._hear(json.loads(line))
            if process.wait():
                stray.seek(0)
                words = "\n".join(stray.read().splitlines()[-_KEPT_LINES:]) or f"exit status {process.returncode}"
                raise HubError({"kind": "other", "words": words})
        return listings

    def _start(self, stray: IO[str]) -> subprocess.Popen[str]:
        """Start the script; what it and the library say to nobody in particular goes to `stray`."""
        return subprocess.Popen(
            [self.python, str(_SCRIPT)],
            env={**clean_environ(), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stray,
            text=True,
            pass_fds=(self.lock,),
        )

    def _hear(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """Take one line of the script; returns the listing that it is, if it is one."""
        if "error" in said:
            raise HubError(said["error"])
        if "note" in said:
            self.report(said["note"])
        if "progress" in said:
            have, total = (said["progress"][name] for name in ("have", "total"))
            self.report(f"{have / _MEGA:.0f} of {total / _MEGA:.0f} MB")
        return [said["listing"]] if "listing" in said else []
