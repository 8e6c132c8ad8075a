"""What a model-source plugin hands to RayLLM: how a URI becomes files on the node that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class FetchProgress(Protocol):
    """Told how far a fetch is, in words: `report("12 of 93 MB")`."""

    def __call__(self, detail: str, /) -> None:
        """Report what is going on now."""


class ModelFiles(Protocol):
    """A model's files, looked at from the operator's side; several threads may read at once."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file by its path in the model's folder; of a single file, by its name."""

    def read(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from `start` on; fewer where it ends before.

        Raises:
            RayllmError: it can't be read.
        """


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
    look: Callable[[str, Path, Mapping[str, str]], AbstractContextManager[ModelFiles]] | None = None
    """`look(uri, cache, secrets)`: the model's files, without fetching the weights, for `rayllm plan` to estimate the
    memory. Runs on the operator's machine, where `cache` (which may hold the model already) and the network may differ
    from the nodes'; `secrets` are the file's, by name. Takes seconds at most, changes nothing. Raises RayllmError where
    the files can't be seen from here, which is no mistake."""
