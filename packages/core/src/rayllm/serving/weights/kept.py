"""Weights that come from elsewhere: kept by the state that they were in, used without network.

A model's folder holds `refs/` (the state that a branch or place was last in), `commits/` (the files of a state with
size and digest), `blobs/` (content by digest; `.part` while it comes) and `snapshots/COMMIT/` (the files by name).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from rayllm.errors import RayllmError
from rayllm.serving.prepare.room import require_room
from rayllm.serving.processes.file_lock import locked
from rayllm.serving.weights.hub_files import choose
from rayllm.serving.weights.script_run import FetchError, FetchScript
from rayllm.sources import FetchProgress

logger = logging.getLogger(__name__)
PATIENCE_S = 180.0
"""Seconds that a load may stand still before it is given up."""
FIRST_PATIENCE_S = 5.0
"""The same for the first question: where it fails, what was fetched earlier may do."""
SUMS = "SHA256SUMS"
"""Beside the files of a model whose digests are not of their content alone: what `sha256sum -c` takes."""
_TRIES = 3
"""Times that a load is begun where the files change while they come."""


class Wanted(Protocol):
    """What a URI names."""

    @property
    def scheme(self) -> str:
        """Before `://`: `hf`, `s3`, `gs`, `az`."""

    @property
    def repo(self) -> str:
        """The model, without the scheme."""

    @property
    def revision(self) -> str:
        """The state that is wanted, or the name of one that changes."""

    @property
    def file(self) -> str | None:
        """A GGUF file of it; None for the model that all of it is."""

    @property
    def pinned(self) -> bool:
        """Whether the revision never means anything else."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's folder on this node."""

    folder: Path

    def commit_of(self, uri: Wanted) -> str | None:
        """The commit that the revision is, or was when it was last asked for."""
        if uri.pinned:
            return uri.revision
        ref = self._ref(uri.revision)
        return ref.read_text() if ref.exists() else None

    def files_of(self, commit: str) -> dict[str, Any] | None:
        """The commit's files, if they were ever listed here."""
        listing = self.folder / "commits" / f"{commit}.json"
        return dict(json.loads(listing.read_text())) if listing.exists() else None

    def keep_files(self, listing: dict[str, Any]) -> None:
        """Remember what was said of a commit."""
        _write(self.folder / "commits" / f"{listing['commit']}.json", json.dumps(listing["files"]))

    def keep_commit(self, uri: Wanted, commit: str) -> None:
        """Remember what a branch or tag is, once that commit is whole: until then, the one before may still do."""
        if not uri.pinned:
            _write(self._ref(uri.revision), commit)

    def complete(self, uri: Wanted) -> Path | None:
        """The model at that revision, as far as this node knows it; None if anything of it is missing."""
        commit = self.commit_of(uri)
        files = self.files_of(commit) if commit else None
        if commit is None or files is None:
            return None
        wanted = choose(uri.repo, _sizes(files), uri.file, uri.scheme)
        snapshot = self.folder / "snapshots" / commit
        return self._model(snapshot, uri) if all((snapshot / name).is_file() for name in wanted) else None

    def missing(self, files: list[dict[str, Any]]) -> int:
        """Bytes of these files that are not here yet."""
        return sum(file["size"] - self._have(file) for file in files)

    def link(self, commit: str, uri: Wanted, files: list[dict[str, Any]]) -> Path:
        """Give the content its names; returns the model."""
        snapshot = self.folder / "snapshots" / commit
        for file in files:
            name = snapshot / file["path"]
            name.parent.mkdir(parents=True, exist_ok=True)
            if not name.is_symlink():
                up = "/".join([".."] * (len(name.relative_to(self.folder).parts) - 1))
                name.symlink_to(f"{up}/blobs/{file['digest']}")
        if sums := [f"{sha256}  {file['path']}\n" for file in files if (sha256 := self._sum(file))]:
            _write(snapshot / SUMS, "".join(sums))
        return self._model(snapshot, uri)

    def _sum(self, file: dict[str, Any]) -> str | None:
        """SHA-256 of a file as it came, where whoever fetched it left it."""
        beside = self._blob(file).with_name(f"{file['digest']}.sha256")
        return beside.read_text() if beside.exists() else None

    def _model(self, snapshot: Path, uri: Wanted) -> Path:
        return snapshot / uri.file if uri.file else snapshot

    def has(self, file: dict[str, Any]) -> bool:
        """Whether its content is here, whole and compared with its digest."""
        return self._blob(file).exists()

    def _have(self, file: dict[str, Any]) -> int:
        if self.has(file):
            return int(file["size"])
        part = self._blob(file).with_name(f"{file['digest']}.part")
        return part.stat().st_size if part.exists() else 0

    def _blob(self, file: dict[str, Any]) -> Path:
        return self.folder / "blobs" / str(file["digest"])

    def _ref(self, revision: str) -> Path:
        return self.folder / "refs" / quote(revision, safe="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where a model comes from."""

    script: Callable[[FetchProgress, int], FetchScript]
    """Who asks for it; takes the descriptor of the lock."""
    explain: Callable[[FetchError], RayllmError]
    """The error that a person sees."""


def fetch_kept(wanted: Wanted, place: Repository, remote: Remote, report: FetchProgress) -> Path:
    """The folder of the model, or its GGUF file, on this node.

    Raises:
        InputError: there is nothing at that place that can be served.
        RayllmError: it can't be fetched, with the other side's own words and what to do; what came is kept.
    """
    if wanted.pinned and (found := place.complete(wanted)):
        return found
    with locked(place.folder / ".lock", report, f"another process that fetches {wanted.repo}") as lock:
        if wanted.pinned and (found := place.complete(wanted)):
            return found
        script = remote.script(report, lock)
        try:
            return _current(wanted, place, script)
        except FetchError as problem:
            return _earlier(wanted, place, remote.explain(problem), report)


def _current(wanted: Wanted, place: Repository, script: FetchScript, tries: int = _TRIES) -> Path:
    """As it is now; begun anew where it changes meanwhile."""
    listing = script.list_files(FIRST_PATIENCE_S)
    place.keep_files(listing)
    try:
        found = _load(wanted, place, listing["commit"], script)
    except FetchError as problem:
        if problem.kind != "changed" or tries == 1:
            raise
        script.report(f"{wanted} was changed while it was fetched: beginning with what is there now")
        return _current(wanted, place, script, tries - 1)
    place.keep_commit(wanted, listing["commit"])
    return found


def _earlier(wanted: Wanted, place: Repository, error: RayllmError, report: FetchProgress) -> Path:
    """What this node has of it: a model that serves does not stop serving because the other side is away."""
    found = place.complete(wanted)
    if found is None:
        raise error from None
    note = f"{wanted} as fetched earlier, commit {place.commit_of(wanted)}: {error.message}"
    logger.warning(note)
    report(note)
    return found


def _load(wanted: Wanted, place: Repository, commit: str, script: FetchScript) -> Path:
    """Load what is missing of the commit."""
    listed = place.files_of(commit) or {}
    names = choose(wanted.repo, _sizes(listed), wanted.file, wanted.scheme)
    files = [{"path": name, **listed[name]} for name in names]
    if not all(place.has(file) for file in files):
        require_room(place.folder, place.missing(files), f"the weights of {wanted.repo}")
        try:
            script.get_files(commit, files, place.folder / "blobs", PATIENCE_S)
        except FetchError as problem:
            problem.missing = place.missing(files)
            raise
    return place.link(commit, wanted, files)


def _sizes(files: dict[str, Any]) -> dict[str, int]:
    return {name: int(facts["size"]) for name, facts in files.items()}


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)
