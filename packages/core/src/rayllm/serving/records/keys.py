"""The API keys of a deployment: names, digests and limits, never a key."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rayllm.serving.haproxy.view import KeyRule
from rayllm.serving.key_limits import KeyLimits
from rayllm.serving.records.database import open_database, writing
from rayllm.serving.records.key_record import KeyRecord

logger = logging.getLogger(__name__)
_SELECT = "SELECT id, from_file, digest, retiring, created, revoked, limits FROM keys"
_INSERT = "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)"


class KeyConflictError(Exception):
    """The name or the digest is another key's, or the key can't change this way; its text is for a person."""


class KeyStore:
    """The keys, in memory and in the records: what can't be written is refused, what was known goes on.

    Methods block; one thread at a time.

    Args:
        path: the records' file.
        last: keys that HAProxy still goes by. Where the records hold none at all they were lost, and these are kept.
    """

    def __init__(self, path: Path, last: Sequence[KeyRule] = ()) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._known = {rule.id: KeyRecord.recovered(rule) for rule in last}
        try:
            self._refresh()
        except (OSError, sqlite3.Error):
            logger.exception("the records can't be opened; keys stay as HAProxy knows them")

    def all(self) -> list[KeyRecord]:
        """Every key, by name."""
        return sorted(self._known.values(), key=lambda key: key.id)

    def rules(self, aliases: Mapping[str, Mapping[str, int]], spent: Mapping[str, int]) -> tuple[KeyRule, ...]:
        """What HAProxy has to know: every key but the revoked.

        Args:
            aliases: other names of models, with the weights of their targets.
            spent: keys whose tokens are used up, and until when (seconds since 1970).
        """
        return tuple(key.rule(aliases, spent.get(key.id)) for key in self.all() if not key.revoked)

    def add(self, name: str, digest: str, limits: KeyLimits) -> KeyRecord:
        """A new key; one that was revoked may be followed by another of its name.

        Raises:
            KeyConflictError: there is one of that name, or that digest.
            OSError: it can't be written.
            sqlite3.Error: the same.
        """
        self._refresh()
        if (known := self._known.get(name)) and not known.revoked:
            raise KeyConflictError(f"there is a key {name} already: revoke or rotate it, or choose another name")
        self._check_digest(name, digest)
        return self._keep([KeyRecord(id=name, digest=digest, created=_now(), limits=limits)])[0]

    def rotate(self, name: str, digest: str, grace_s: int) -> KeyRecord:
        """A new digest with the same limits; the old one is good for another `grace_s` seconds.

        Raises:
            KeyError: there is no such key.
            KeyConflictError: it is one of the file's, was revoked, or the digest is another key's.
            OSError: it can't be written.
            sqlite3.Error: the same.
        """
        self._refresh()
        key = self._known[name]
        if key.from_file:
            raise KeyConflictError(f"{name} comes from the deployment's file: change it there, then rayllm up")
        if key.revoked:
            raise KeyConflictError(f"{name} was revoked; make a new one: rayllm keys add {name}")
        self._check_digest("", digest)
        now = _now()
        old = [(digest, until) for digest, until in key.retiring if until > now]
        retiring = [*old, (key.digest, now + grace_s)] if grace_s else old
        return self._keep([replace(key, digest=digest, retiring=tuple(retiring))])[0]

    def revoke(self, name: str) -> KeyRecord:
        """Refuse a key from now on.

        Raises:
            KeyError: there is no such key.
            OSError: it can't be written.
            sqlite3.Error: the same.
        """
        self._refresh()
        key = self._known[name]
        return key if key.revoked else self._keep([replace(key, revoked=_now(), retiring=())])[0]

    def bootstrap(self, digests: Mapping[str, str]) -> None:
        """Make the file's keys what it says: these, by name, and no others. Those that were added stay.

        One of the file's that `revoke` ended stays so until the file has another key under its name.

        Raises:
            KeyConflictError: a digest is that of a key that was added.
            OSError: they can't be written.
            sqlite3.Error: the same.
        """
        self._refresh()
        now, changed = _now(), []
        for name, digest in digests.items():
            self._check_digest(name, digest, besides=digests)
            known = self._known.get(name)
            if known is None or not known.from_file or known.digest != digest:
                limits = known.limits if known and not known.revoked else KeyLimits()
                changed.append(KeyRecord(id=name, digest=digest, created=now, from_file=True, limits=limits))
        gone = [key for key in self._known.values() if key.from_file and not key.revoked and key.id not in digests]
        self._keep([*changed, *(replace(key, revoked=now, digest="", retiring=()) for key in gone)])

    def close(self) -> None:
        """Let go of the file."""
        if self._database:
            self._database.close()
            self._database = None

    def _check_digest(self, name: str, digest: str, besides: Iterable[str] = ()) -> None:
        for key in self._known.values():
            used = key.digest == digest or any(digest == old for old, _ in key.retiring)
            if used and key.id != name and not key.revoked and key.id not in besides:
                raise KeyConflictError(f"the same key is known as {key.id}")

    def _keep(self, changed: list[KeyRecord]) -> list[KeyRecord]:
        if changed:
            _write(self._refresh(), changed)
            self._known |= {key.id: key for key in changed}
        return changed

    def _refresh(self) -> sqlite3.Connection:
        """Read what the last gateway wrote after this one had begun; what was lost is written to a new file."""
        database = self._database
        if database is None or not self._path.exists():
            self.close()
            self._database = database = open_database(self._path)
        rows = database.execute(_SELECT).fetchall()
        if rows:
            self._known = {row[0]: KeyRecord.of_row(row) for row in rows}
        elif self._known:
            logger.warning("the records hold no keys: those that were known are written anew")
            _write(database, self.all())
        return database


def _write(database: sqlite3.Connection, keys: list[KeyRecord]) -> None:
    with writing(database):
        database.executemany(_INSERT, [key.row() for key in keys])


def _now() -> int:
    return int(time.time())
