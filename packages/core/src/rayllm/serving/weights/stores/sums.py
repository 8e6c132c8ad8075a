"""Checksums of a file, several in one pass. Part of a script: it needs what a store's library brings along."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rayllm.serving.weights.script_parts import ChecksumError

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store says of an object."""

    state: str
    """Changes with the content."""
    sums: Mapping[str, str] = field(default_factory=dict)
    """Checksums of the whole content by kind, in hexadecimal."""
    parts: tuple[str, Sequence[int]] | None = None
    """Of an object that came in parts: MD5 of its parts' MD5s, and the bytes of each part."""


class Sum(Protocol):
    """As hashlib has it."""

    def update(self, block: bytes, /) -> None:
        """Take more of the content."""

    def hexdigest(self) -> str:
        """The sum of what came."""


class _Crc:
    """A cyclic redundancy check."""

    def __init__(self, extend: Callable[[bytes, int], int], digits: int) -> None:
        self._extend = extend
        self._digits = digits
        self._value = 0

    def update(self, block: bytes, /) -> None:
        self._value = self._extend(block, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{self._digits}x}"


class _Parts:
    """MD5 of the MD5s of parts: how S3 makes the ETag of an object that came in parts.

    See https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._whole = _md5()
        self._part = _md5()
        self._left = list(reversed(sizes))

    def update(self, block: bytes, /) -> None:
        while block and self._left:
            taken = block[: self._left[-1]]
            self._part.update(taken)
            self._left[-1] -= len(taken)
            block = block[len(taken) :]
            if not self._left[-1]:
                self._left.pop()
                self._whole.update(bytes.fromhex(self._part.hexdigest()))
                self._part = _md5()

    def hexdigest(self) -> str:
        return self._whole.hexdigest()


def _md5() -> Sum:
    return hashlib.md5(usedforsecurity=False)


def _crc32c() -> Sum:
    try:
        from awscrt.checksums import crc32c
    except ImportError:
        import google_crc32c

        return _Crc(lambda block, value: int(google_crc32c.extend(value, block)), 8)
    return _Crc(crc32c, 8)


def _crc64nvme() -> Sum:
    from awscrt.checksums import crc64nvme

    return _Crc(crc64nvme, 16)


_KINDS: Mapping[str, Callable[[], Sum]] = {
    "sha256": hashlib.sha256,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": _md5,
    "crc64nvme": _crc64nvme,
    "crc32c": _crc32c,
    "crc32": lambda: _Crc(zlib.crc32, 8),
}
KINDS = tuple(_KINDS)


def compare(path: Path, facts: Facts, name: str) -> tuple[str, list[str]]:
    """Compare the content with every checksum that the store gave; returns its SHA-256, and the kinds that agreed.

    Raises:
        ChecksumError: one does not agree; with both.
    """
    sums = {kind: _KINDS[kind]() for kind in {"sha256", *facts.sums}}
    expected = dict(facts.sums)
    if facts.parts:
        sums["md5 of its parts"], expected["md5 of its parts"] = _Parts(facts.parts[1]), facts.parts[0]
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            for one in sums.values():
                one.update(block)
    for kind, value in expected.items():
        if (found := sums[kind].hexdigest()) != value:
            raise ChecksumError(f"{name}: {kind} {found}, the store says {value}")
    return sums["sha256"].hexdigest(), sorted(expected)
