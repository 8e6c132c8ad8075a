"""Waiting for what the platform does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rayllm.errors import RayllmError

Found = TypeVar("Found")
EVERY_S = 2.0
"""Seconds between two looks; the first ones are closer together, for what takes no time."""
_FIRST_S = (0.5, 1.0)
OFTEN_S = 0.5
"""As `EVERY_S`, where the cluster itself is asked, and not the platform's API."""


class Seldom:
    """True when it is asked for the first time, and not again before `EVERY_S` are over."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + EVERY_S
        return True


def until(
    look: Callable[[], Found | None],
    bound_s: float,
    late: Callable[[], RayllmError],
    *,
    every_s: float = EVERY_S,
) -> Found:
    """Look until there is something to see.

    Args:
        look: None means: not yet.
        bound_s: seconds after which `late` says what is wrong; one look is made in any case.
        late: makes the error.
        every_s: seconds between two looks, after the first ones.

    Raises:
        RayllmError: it is late, or `look` raises it.
    """
    end, looks = time.monotonic() + bound_s, 0
    while (found := look()) is None:
        if time.monotonic() >= end:
            raise late()
        time.sleep(min(every_s, _FIRST_S[looks]) if looks < len(_FIRST_S) else every_s)
        looks += 1
    return found
