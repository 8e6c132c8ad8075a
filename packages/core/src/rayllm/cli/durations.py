"""Times as people write and read them."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """Of `30m`, `12h`, `90d`, `5s`.

    Raises:
        InputError: it is none of these.
    """
    from rayllm.errors import InputError

    if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return int(match[1]) * _UNITS[match[2]]
    raise InputError(f"a time like 30m, 12h or 90d expected, found {text[:40]!r}")


def moment(time: float | None) -> str:
    """A Unix time as the local date and minute; empty for none."""
    from datetime import datetime

    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else ""
