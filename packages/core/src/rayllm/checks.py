"""What `rayllm doctor` finds; a plugin adds checks of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What: `ray`, `gateway port`, `disk`, …"""
    state: Literal["ok", "warn", "fail"] = "ok"
    """`fail`: it stands in the way; `warn`: it may."""
    detail: str
    """What was found; where something is wrong, its cause."""
    cure: str = ""
    """What to do about it; empty if `ok`."""
