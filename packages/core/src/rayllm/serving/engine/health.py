"""When is an engine hung: it has work, and makes no tokens."""

from __future__ import annotations

from rayllm.serving.engine.load import Load

HANG_S = 60.0
"""Seconds of work without a single token after which an engine counts as hung."""


class HangWatch:
    """Fed with an engine's load; says since when it makes no progress."""

    def __init__(self) -> None:
        self._generated = -1.0
        self._since: float | None = None

    def stuck_for(self, load: Load, now: float) -> float:
        """Seconds the engine has had requests and generated nothing; 0 when idle or at work.

        Those that wait count: an engine that hangs before it takes them up runs none.
        """
        if load.ongoing == 0 or load.generated != self._generated:
            self._generated = load.generated
            self._since = now if load.ongoing else None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since
