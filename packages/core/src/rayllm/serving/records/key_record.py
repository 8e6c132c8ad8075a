"""An API key as it is kept: its name, its digest and its limits, never the key."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm.serving.haproxy import access
from rayllm.serving.haproxy.view import KeyRule
from rayllm.serving.key_limits import KeyLimits

COLUMNS = ("id", "from_file", "digest", "retiring", "created", "revoked", "limits")
"""Of the table `keys`."""
_LATE = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One key, as it is kept."""

    id: str
    digest: str
    """SHA-256 in upper-case hexadecimal digits."""
    created: int
    """Seconds since 1970."""
    from_file: bool = False
    """True for a key of the deployment's file, which `rayllm up` sets anew."""
    retiring: tuple[tuple[str, int], ...] = ()
    """Digests that were rotated out, each with the time from which it is refused."""
    revoked: int | None = None
    """When it was revoked, in seconds since 1970."""
    limits: KeyLimits = field(default_factory=KeyLimits)

    def shown(self) -> dict[str, Any]:
        """All but the digests."""
        about = {"name": self.id, "from_file": self.from_file, "created": self.created, "revoked": self.revoked}
        return about | self.limits.to_json()

    def rule(self, aliases: Mapping[str, Mapping[str, int]], spent_until: int | None) -> KeyRule:
        """What the gateway holds it to. An alias of models that it may use all is its own, too."""
        models = self.limits.models
        own = None if models is None else {*models, *(name for name, to in aliases.items() if set(to) <= set(models))}
        return KeyRule(
            id=self.id,
            digests=(self.digest,),
            retiring=self.retiring,
            names=None if own is None else tuple(sorted(own)),
            expires=self.limits.expires,
            requests_per_minute=self.limits.requests_per_minute,
            concurrent_requests=self.limits.concurrent_requests,
            tokens_per_minute=self.limits.tokens_per_minute,
            tokens_per_day=self.limits.tokens_per_day,
            spent_until=spent_until,
        )

    def row(self) -> tuple[object, ...]:
        """As `COLUMNS` hold it."""
        retiring, limits = json.dumps(self.retiring), json.dumps(self.limits.to_json())
        return (self.id, self.from_file, self.digest, retiring, self.created, self.revoked, limits)

    @classmethod
    def of_row(cls, values: Sequence[Any]) -> KeyRecord:
        """Read what `row` gave."""
        row = dict(zip(COLUMNS, values, strict=True))
        return cls(
            id=row["id"],
            from_file=bool(row["from_file"]),
            digest=row["digest"],
            retiring=tuple((digest, until) for digest, until in json.loads(row["retiring"])),
            created=row["created"],
            revoked=row["revoked"],
            limits=KeyLimits.from_json(json.loads(row["limits"])),
        )

    @classmethod
    def recovered(cls, rule: KeyRule) -> KeyRecord:
        """What is left of a key in HAProxy's maps. The digest that lasts longest is its own."""
        digests = [*((digest, _LATE) for digest in rule.digests), *rule.retiring]
        digest, until = max(digests, key=lambda found: found[1])
        limits = KeyLimits(
            models=rule.names,
            expires=until if until < _LATE else rule.expires,
            requests_per_minute=rule.requests_per_minute,
            concurrent_requests=rule.concurrent_requests,
        )
        retiring = tuple(found for found in rule.retiring if found[0] != digest)
        return cls(id=rule.id, digest=digest, created=int(time.time()), retiring=retiring, limits=limits)


def known_to_haproxy(run_dir: Path) -> tuple[KeyRule, ...]:
    """The keys in the maps of a HAProxy that has run there; none where none has.

    Raises:
        OSError: a map can't be read.
    """
    found = {}
    for name in (access.KEYS_FILE, access.MAY_FILE):
        with contextlib.suppress(FileNotFoundError):
            found[name] = (run_dir / name).read_text()
    return access.rules(found)
