"""The platform's time: it runs, or stands still until a test moves it."""

from __future__ import annotations

import asyncio
import threading
import time


class Clock:
    """What the platform's own delays are measured with. Processes and connections live in real time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moved = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """Seconds since 1970, as the platform sees it."""
        with self._lock:
            return (time.time() if self._frozen_at is None else self._frozen_at) + self._moved

    def freeze(self) -> None:
        """Stand still: only `advance` moves it from now on."""
        with self._lock:
            self._frozen_at = time.time() if self._frozen_at is None else self._frozen_at

    def advance(self, seconds: float) -> None:
        """Move on."""
        with self._lock:
            self._moved += seconds

    async def until(self, moment: float) -> None:
        """Wait until its time is that far. Moments are reckoned when something is asked for, not when it is begun."""
        while (left := moment - self.now()) > 0:  # noqa: ASYNC110 - any thread may move it
            await asyncio.sleep(min(left, 0.02))
