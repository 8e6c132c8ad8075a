"""The files of an installed distribution, as its installer wrote them down."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.metadata import Distribution, FileHash, PackagePath


def recorded(distribution: Distribution) -> list[PackagePath]:
    """Every file of its RECORD with its hash, also one that is gone; none where there is no RECORD.

    From Python 3.12 on, `distribution.files` leaves out what is gone, so that nobody could tell of it.
    """
    return list(_read(distribution))


def _read(distribution: Distribution) -> Iterator[PackagePath]:
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path, digest, _ = (*row, "", "", "")[:3]
        file = PackagePath(path)
        file.dist = distribution
        file.hash = FileHash(digest) if digest else None
        yield file
