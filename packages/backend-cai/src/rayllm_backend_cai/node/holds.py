"""Pauses that grow: between replacements of what ends soon after its start, and after refusals. Pure."""

from __future__ import annotations

from rayllm_backend_cai.shared import Hold

STEADY_S = 600.0
"""A worker that ran longer is replaced at once, however it ended."""
LONGEST_S = 600.0
LONGEST_REFUSED_S = 120.0
"""To ask again costs one request, and somebody may be waiting for the room that was just made."""
_FIRST_S = 5.0


def after_end(before: Hold | None, reason: str, lived_s: float, now: float) -> Hold:
    """Of a group of which a worker has just ended: the first is replaced at once, each further one later."""
    count = 1 if before is None or lived_s > STEADY_S else before.count + 1
    since = before.since if before and count > 1 else now
    return Hold(reason=reason, since=since, again=now + (0 if count == 1 else _pause(count)), count=count)


def after_refusal(before: Hold | None, reason: str, now: float) -> Hold:
    """Of a group of which the platform makes no application."""
    count = before.count + 1 if before else 1
    again = now + min(LONGEST_REFUSED_S, 2 * _pause(count))
    return Hold(reason=reason, since=before.since if before else now, again=again, count=count)


def _pause(count: int) -> float:
    return min(LONGEST_S, _FIRST_S * 2.0 ** min(count - 1, 10))
