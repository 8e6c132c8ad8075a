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
State = Literal["starting", "ready", "waiting", "leaving", "failed"]

log = logging.getLogger("rayllm.cai")


class Watched(Generic[Record]):
    """A record that another program writes; what was read last counts while it can't be read.

    Args:
        kind: what it is.
        paths: where it is; the first that is there counts, one that can't be read if no later one can.
    """

    def __init__(self, kind: type[Record], *paths: Path) -> None:
        self._paths = paths
        self._kind = kind
        self._last: Record | None = None
        self._trouble = ""

    def look(self) -> Record | None:
        """The record; None where there never was one: a file that is gone may be one that is just being replaced."""
        trouble = ""
        for path in self._paths:
            try:
                self._last = self._kind.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                trouble = f"{path} can't be read just now: {error}"
            else:
                self._trouble = ""
                return self._last
        if trouble and trouble != self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble
        return self._last


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
