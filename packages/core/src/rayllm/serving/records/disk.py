"""Whether a file is on a disk of this machine alone, as far as the kernel tells."""

from __future__ import annotations

import re
from pathlib import Path

_OWN = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "overlay", "tmpfs", "ramfs"}
)
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def is_own(path: Path, mounts: Path = _MOUNTS) -> bool:
    """True where no other machine can have the disk, so memory that is mapped from a file is the same for all.

    False for what is not known: a network's disk, or what another program makes (FUSE).

    Args:
        path: a file or folder.
        mounts: as `/proc/self/mountinfo`.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real, nearest, kind = path.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        place = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split()[4]))
        # Of several at one place the last one is on top.
        if real.is_relative_to(place) and len(place.parts) >= nearest:
            nearest, kind = len(place.parts), after.split()[0]
    return kind in _OWN
