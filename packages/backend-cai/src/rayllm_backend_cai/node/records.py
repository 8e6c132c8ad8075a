"""The records on the project's disk, which may be slow, stale or briefly not there."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.shared import NodeRecord

Record = TypeVar("Record", bound=BaseModel)
NEW = ".new"
"""Ends the name of what the operator has uploaded and is about to rename: the platform writes over nothing."""
State = Literal["starting", "ready", "waiting", "leaving", "failed"]

log = logging.getLogger("rayllm.cai")


class Watched(Generic[Record]):
    """A record that another program writes; what was read last counts while it can't be read."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path = path
        self._kind = kind
        self._last: Record | None = None
        self._trouble = ""

    def look(self) -> Record | None:
        """The record; None where there never was one."""
        try:
            self._last = self._kind.model_validate_json(self._content())
        except FileNotFoundError:  # or it is just being replaced: on such a disk that takes a moment
            pass
        except (OSError, ValueError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("%s can't be read just now: %s", self._path, error)
        else:
            self._trouble = ""
        return self._last

    def _content(self) -> bytes:
        """Of the file, or of the one that is about to take its place."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return self._path.with_name(self._path.name + NEW).read_bytes()


class Own:
    """What this node says of itself; kept in memory too, for `/health`."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self.record = self._made("starting", "")

    def note(self, state: State, reason: str = "") -> None:
        """Say something new; a disk that fails costs the file alone."""
        if (state, reason) == (self.record.state, self.record.reason) and self._pod.record.exists():
            return
        log.info("%s %s", state, reason.partition("\n")[0])
        self.record = self._made(state, reason)
        try:
            self.record.write(self._pod.record)
        except OSError as error:
            log.warning("%s can't be written: %s", self._pod.record, error)

    def _made(self, state: State, reason: str) -> NodeRecord:
        pod = self._pod
        return NodeRecord(state=state, reason=reason, since=time.time(), engine=pod.engine, address=pod.address)


class Claim:
    """Which pod is this node. The platform may leave an earlier start's processes behind; the last start counts."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._mine = pod.local / "claimed"

    def make(self) -> None:
        """Claim the node for this pod, once in its life."""
        if not self._mine.exists():
            self._pod.claim.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._pod.claim.with_suffix(f".{self._pod.engine}")
            draft.write_text(self._pod.engine, encoding="utf-8")
            draft.replace(self._pod.claim)
            self._mine.touch()

    def is_lost(self) -> bool:
        """Whether a later start has the node."""
        try:
            holder = self._pod.claim.read_text(encoding="utf-8")
        except OSError:  # no news
            return False
        return holder not in {"", self._pod.engine}
