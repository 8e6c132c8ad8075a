"""A model's files on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import InputError


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """A folder, or a single file."""

    place: Path
    sizes: Mapping[str, int]
    """Of a folder, those in folders below it included."""

    def read(self, name: str, start: int, length: int) -> bytes:
        """A part of a file.

        Raises:
            InputError: it can't be read.
        """
        path = self.place if self.place.is_file() else self.place / name
        try:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise InputError(f"{path} can't be read", cause=error.strerror) from error


@contextmanager
def local_files(place: Path) -> Iterator[LocalFiles]:
    """The files at `place`."""
    if place.is_file():
        yield LocalFiles(place, {place.name: place.stat().st_size})
        return
    files = (path for path in place.rglob("*") if path.is_file())
    yield LocalFiles(place, {path.relative_to(place).as_posix(): path.stat().st_size for path in files})
