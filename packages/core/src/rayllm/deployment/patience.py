"""Asking a cluster that may be away for a moment: its dashboard restarts, a connection breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rayllm.backends import Progress
from rayllm.cluster.connection import UnreachableError

Answer = TypeVar("Answer")
AWAY_S = 30.0
"""Seconds without an answer after which the error is told."""


class Patience:
    """Takes no answer for an answer, for a while."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._away_since: float | None = None

    def ask(self, question: Callable[[], Answer]) -> Answer | None:
        """The answer, or None while nobody answers.

        Raises:
            UnreachableError: nobody has answered for `AWAY_S` seconds.
        """
        try:
            answer = question()
        except UnreachableError:
            now = self._clock()
            if self._away_since is None:
                self._away_since = now
                self._progress("cluster", "does not answer; asking again")
            if now - self._away_since > AWAY_S:
                raise
            return None
        if self._away_since is not None:
            self._away_since = None
            self._progress("cluster", "answers again", done=True)
        return answer
