"""What nobody's own words cover: the system's refusals, and our own mistakes."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayllm.errors import InputError, RayllmError
from rayllm.paths import home

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LEAST = 1 << 20
"""Bytes free on a disk that is not the full one."""


def from_system(error: OSError) -> RayllmError:
    """The error for something that the system refused: a full disk, a folder that can't be written, a broken pipe."""
    folder = home()
    inside = bool(error.filename) and Path(os.fsdecode(error.filename)).is_relative_to(folder)
    if error.errno in _FULL:
        ours = inside or is_full(folder)
        return RayllmError(
            f"no space is left for RayLLM's folder {folder}" if ours else "no space is left on a disk",
            cause=str(error),
            cure="free some space there" + (", or set RAYLLM_HOME to another disk" if ours else ""),
            topic="disk-full",
        )
    if inside:
        return InputError(
            f"{folder} can't be used as RayLLM's folder",
            cause=f"{error.strerror}: {os.fsdecode(error.filename)}",
            cure="set RAYLLM_HOME to a folder on a disk of this machine that you may write to",
            topic="home",
        )
    return RayllmError(f"the system refused it: {error}")


def from_bug(error: Exception) -> RayllmError:
    """The error for what should not happen; its traceback is printed before it, since it may never happen again."""
    from rayllm import __version__

    return RayllmError(
        f"this is a bug in RayLLM {__version__}, or in a plugin",
        cause=f"{type(error).__name__}: {error}",
        cure=f"report it with the lines above and the command: rayllm {' '.join(sys.argv[1:])}",
        topic="bug",
    )


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what the system refuses into what a person can act on.

    Raises:
        RayllmError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise from_system(error) from error


def is_full(folder: Path) -> bool:
    """Whether the disk that holds `folder`, which need not exist, has nothing left."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free < _LEAST
