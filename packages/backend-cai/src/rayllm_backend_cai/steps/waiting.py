"""Waiting for what the platform does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rayllm.errors import RayllmError

Found = TypeVar("Found")
EVERY_S = 2.0
"""Seconds between two looks; the first ones are closer together, for what takes no time."""
_FIRST_S = (0.2, 0.3, 0.5, 1.0)


def until(look: Callable[[], Found | None], bound_s: float, late: Callable[[], RayllmError]) -> Found:
    """Look until there is something to see.

    Args:
        look: None means: not yet.
        bound_s: seconds after which `late` says what is wrong; one look is made in any case.
        late: makes the error.

    Raises:
        RayllmError: it is late, or `look` raises it.
    """
    end, looks = time.monotonic() + bound_s, 0
    while (found := look()) is None:
        if time.monotonic() >= end:
            raise late()
        time.sleep(_FIRST_S[looks] if looks < len(_FIRST_S) else EVERY_S)
        looks += 1
    return found
