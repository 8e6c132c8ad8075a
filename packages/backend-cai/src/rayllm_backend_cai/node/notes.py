"""What the keeper remembers, on the cluster's disk: for a new head to go on from, and for people to read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rayllm_backend_cai.shared import EVENTS, Event, Hold, KeeperRecord, Leaving, keeper_file

log = logging.getLogger("rayllm.cai.keeper")


class Notes:
    """The record of what is done about the workers.

    Args:
        folder: the cluster's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = keeper_file(folder)
        try:
            self.record = KeeperRecord.read(self._path) or KeeperRecord()
        except ValueError as error:  # it only spares work: what it tells is found out again
            log.warning("%s is no record and is begun anew: %s", self._path, error)
            self.record = KeeperRecord()
        self._written = self.record

    def save(self) -> None:
        """Write it, if something changed."""
        if self.record != self._written:
            self.record.write(self._path)
            self._written = self.record

    def event(self, node: str, text: str, now: float) -> None:
        """Tell that something happened."""
        log.info("%s: %s", node, text)
        self._change(events=[*self.record.events, Event(at=now, node=node, text=text)][-EVENTS:])

    def trouble(self, reason: str, now: float, *, stuck: bool = False) -> None:
        """Tell why nothing can be done at all, and whether that stays so; empty: it can."""
        if reason != self.record.trouble:
            self._change(trouble=reason, stuck=stuck)
            self.event("", reason or "the platform answers again", now)

    def made(self, name: str, application: str) -> None:
        """An application is there."""
        self._change(made={**self.record.made, name: application})

    def lost(self, name: str, application: str) -> None:
        """It is not any more."""
        if self.record.made.get(name) == application:
            self._change(made=_without(self.record.made, name))

    def leaving(self, application: str, leaving: Leaving, now: float) -> None:
        """An application is to go."""
        self._change(leaving={**self.record.leaving, application: leaving})
        self.event(leaving.name, f"goes: {leaving.reason}", now)

    def stays(self, application: str) -> None:
        """It is gone, or it stays after all."""
        self._change(leaving=_without(self.record.leaving, application))

    def refused(self, group: str, hold: Hold | None) -> None:
        """The platform makes no application of a group; None: it does."""
        self._change(refused=_with(self.record.refused, group, hold))

    def failing(self, group: str, hold: Hold | None) -> None:
        """Applications of a group end soon after their start; None: they do not."""
        self._change(failing=_with(self.record.failing, group, hold))

    def _change(self, **what: Any) -> None:
        self.record = self.record.model_copy(update=what)


def _without(told: dict[str, Any], key: str) -> dict[str, Any]:
    return {one: value for one, value in told.items() if one != key}


def _with(told: dict[str, Hold], key: str, hold: Hold | None) -> dict[str, Hold]:
    return _without(told, key) if hold is None else {**told, key: hold}
