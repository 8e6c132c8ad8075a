"""Weights on the Hugging Face hub: fetched by a script that has huggingface_hub, kept by commit, used without network.

`models/hub/ORG--NAME/` holds `refs/` (the commit that a branch or tag was last), `commits/` (the files of a commit with
size and digest), `blobs/` (content by digest; `.part` while it comes) and `snapshots/COMMIT/` (the files by name).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rayllm.serving.prepare.room import require_room
from rayllm.serving.processes.file_lock import locked
from rayllm.serving.weights.hub_errors import explain
from rayllm.serving.weights.hub_files import choose
from rayllm.serving.weights.hub_script_run import HubError, HubScript
from rayllm.serving.weights.hub_uri import HubUri, parse_hub
from rayllm.sources import FetchProgress

logger = logging.getLogger(__name__)
PATIENCE_S = 180.0
"""Seconds that a load may stand still before it is given up."""
FIRST_PATIENCE_S = 5.0
"""The same for the first question: where it fails, what was fetched earlier may do."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's folder on this node."""

    folder: Path

    def commit_of(self, uri: HubUri) -> str | None:
        """The commit that the revision is, or was when the hub was last asked."""
        if uri.pinned:
            return uri.revision
        ref = self._ref(uri.revision)
        return ref.read_text() if ref.exists() else None

    def files_of(self, commit: str) -> dict[str, Any] | None:
        """The commit's files, if the hub has ever listed them here."""
        listing = self.folder / "commits" / f"{commit}.json"
        return dict(json.loads(listing.read_text())) if listing.exists() else None

    def keep_files(self, listing: dict[str, Any]) -> None:
        """Remember what the hub said of a commit."""
        _write(self.folder / "commits" / f"{listing['commit']}.json", json.dumps(listing["files"]))

    def keep_commit(self, uri: HubUri, commit: str) -> None:
        """Remember what a branch or tag is, once that commit is whole: until then, the one before may still do."""
        if not uri.pinned:
            _write(self._ref(uri.revision), commit)

    def complete(self, uri: HubUri) -> Path | None:
        """The model at that revision, as far as this node knows it; None if anything of it is missing."""
        commit = self.commit_of(uri)
        files = self.files_of(commit) if commit else None
        if commit is None or files is None:
            return None
        wanted = choose(uri.repo, _sizes(files), uri.file)
        snapshot = self.folder / "snapshots" / commit
        return self._model(snapshot, uri) if all((snapshot / name).is_file() for name in wanted) else None

    def missing(self, files: list[dict[str, Any]]) -> int:
        """Bytes of these files that are not here yet."""
        return sum(file["size"] - self._have(file) for file in files)

    def link(self, commit: str, uri: HubUri, files: list[dict[str, Any]]) -> Path:
        """Give the content its names; returns the model."""
        snapshot = self.folder / "snapshots" / commit
        for file in files:
            name = snapshot / file["path"]
            name.parent.mkdir(parents=True, exist_ok=True)
            if not name.is_symlink():
                up = "/".join([".."] * (len(name.relative_to(self.folder).parts) - 1))
                name.symlink_to(f"{up}/blobs/{file['digest']}")
        return self._model(snapshot, uri)

    def _model(self, snapshot: Path, uri: HubUri) -> Path:
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


def fetch(uri: str, cache: Path, report: FetchProgress) -> Path:
    """The folder of the model, or its GGUF file, on this node.

    Raises:
        InputError: the URI, the repository or the file is not what can be served.
        RayllmError: it can't be fetched, with the hub's own words and what to do; what came is kept.
    """
    wanted = parse_hub(uri)
    place = Repository(cache / "hub" / wanted.repo.replace("/", "--"))
    if wanted.pinned and (found := place.complete(wanted)):
        return found
    with locked(place.folder / ".lock", report, f"another process that fetches {wanted.repo}") as lock:
        if wanted.pinned and (found := place.complete(wanted)):
            return found
        script = HubScript.ready(wanted.repo, report, lock)
        try:
            listing = script.list_files(wanted.revision, FIRST_PATIENCE_S)
            place.keep_files(listing)
            found = _load(wanted, place, listing["commit"], script)
        except HubError as problem:
            return _earlier(wanted, place, problem, report)
        place.keep_commit(wanted, listing["commit"])
        return found


def _earlier(uri: HubUri, place: Repository, problem: HubError, report: FetchProgress) -> Path:
    """What this node has of the revision: a model that serves does not stop serving because the hub is away."""
    found = place.complete(uri)
    if found is None:
        raise explain(uri, problem) from None
    note = f"{uri} as fetched earlier, commit {place.commit_of(uri)}: {explain(uri, problem).message}"
    logger.warning(note)
    report(note)
    return found


def _load(uri: HubUri, place: Repository, commit: str, script: HubScript) -> Path:
    """Load what is missing of the commit."""
    listed = place.files_of(commit) or {}
    files = [{"path": name, **listed[name]} for name in choose(uri.repo, _sizes(listed), uri.file)]
    if not all(place.has(file) for file in files):
        require_room(place.folder, place.missing(files), f"the weights of {uri.repo}")
        try:
            script.get_files(commit, files, place.folder / "blobs", PATIENCE_S)
        except HubError as problem:
            problem.missing = place.missing(files)
            raise
    return place.link(commit, uri, files)


def _sizes(files: dict[str, Any]) -> dict[str, int]:
    return {name: int(facts["size"]) for name, facts in files.items()}


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)
