"""Which processes of this machine run in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def users_of(folders: Sequence[Path]) -> dict[Path, list[int]]:
    """Ids of the processes that run a program of each folder, or have a library of it loaded.

    An engine may overwrite its own command line, so what it has loaded counts too; that of another user's process can't
    be seen.
    """
    found: dict[Path, list[int]] = {folder: [] for folder in folders}
    for process in Path("/proc").iterdir() if folders else ():
        if process.name.isdigit():
            seen = _read(process / "cmdline") + _read(process / "maps")
            for folder in folders:
                if f"{folder}/".encode() in seen:
                    found[folder].append(int(process.name))
    return found


def _read(file: Path) -> bytes:
    with suppress(OSError):  # it ended, or is another user's
        return file.read_bytes()
    return b""
