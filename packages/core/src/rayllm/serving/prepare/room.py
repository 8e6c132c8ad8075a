"""Room on a disk, asked before it is needed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayllm.errors import RayllmError

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1000


def require_room(folder: Path, needed: int, what: str) -> None:
    """Check that `needed` bytes fit on the disk that holds `folder`, which need not exist yet.

    Args:
        folder: where they will be written.
        needed: bytes that are still to come.
        what: that takes them, for the error: `the weights of org/name`.

    Raises:
        RayllmError: they don't; with both numbers, and what to do.
    """
    free = shutil.disk_usage(nearest_existing(folder)).free
    if needed > free:
        raise RayllmError(
            f"no room for {what}: {in_words(needed)} needed, {in_words(free)} free at {folder}",
            cure="free some space there, or set RAYLLM_HOME to another disk and start Ray anew",
            topic="disk-full",
        )


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turn the system's "no space left" into an error for a person.

    Raises:
        RayllmError: something could not be written, since the disk that holds `folder` is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise RayllmError(
            f"no space is left for RayLLM's folder {folder}",
            cause=error.strerror,
            cure="free some space there, or set RAYLLM_HOME to another disk and start Ray anew",
            topic="disk-full",
        ) from error


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return folder if folder.exists() else nearest_existing(folder.parent)


def in_words(size: int) -> str:
    """A number of bytes for a person: `93 MB`, `4.1 GB`."""
    value, unit = float(size), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    short = f"{value:.1f}" if unit and value < 10 else f"{value:.0f}"  # noqa: PLR2004 - one digit says little
    return f"{short} {_UNITS[unit]}"
