"""What a model-source plugin hands to RayLLM: how a URI becomes files on the node that serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class FetchProgress(Protocol):
    """Told how far a fetch is, in words: `report("12 of 93 MB")`."""

    def __call__(self, detail: str, /) -> None:
        """Report what is going on now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A URI scheme under `source:`."""

    scheme: str
    """What stands before the first colon: `file`, `package`, `hf`, …"""
    summary: str
    check: Callable[[str], str | None]
    """Looks at the URI alone, offline, without I/O: what is wrong with it, or None."""
    fetch: Callable[[str, Path, FetchProgress], Path]
    """`fetch(uri, cache, report)`: the file or folder on this node. Runs on the node that serves; is resumable,
    verified, and safe when several call it at once. Raises RayllmError with the cause and the cure."""
