"""Which keys have used up their tokens, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rayllm.serving.haproxy.view import KeyRule
from rayllm.serving.records.ledger import DAY, MINUTE


def spent(rules: Iterable[KeyRule], tokens: Mapping[str, tuple[int, int]], now: float) -> dict[str, int]:
    """Ids of the keys that have no tokens left, and the Unix time from which they have some again.

    Args:
        rules: the keys with their limits.
        tokens: what each key has used in this minute and in this day (`Ledger.tokens`).
        now: Unix time in seconds.
    """
    until: dict[str, int] = {}
    for rule in rules:
        of_minute, of_day = tokens.get(rule.id, (0, 0))
        if rule.tokens_per_day is not None and of_day >= rule.tokens_per_day:
            until[rule.id] = (int(now) // DAY + 1) * DAY
        elif rule.tokens_per_minute is not None and of_minute >= rule.tokens_per_minute:
            until[rule.id] = (int(now) // MINUTE + 1) * MINUTE
    return until
