"""GGUF files: whether one is whole, from its header alone."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import InputError

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by its type."""
_NUMBERS = {4: "I", 5: "i", 10: "Q", 11: "q"}
"""How to read a whole number by its type."""
# fmt: off
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on
"""Elements and bytes of one block by tensor type (ggml's table): F32, F16, Q4_0, …"""


@dataclass(slots=True)
class _Header:
    """Reads a header from front to end."""

    data: mmap.mmap | bytes
    at: int = 0

    def number(self, form: str) -> int:
        """The next number, little-endian."""
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return int(value)

    def text(self) -> bytes:
        """The next string."""
        length = self.number("Q")
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise struct.error
        return self.data[start : self.at]

    def value(self, kind: int) -> int | bytes | None:
        """Step over a value; what it is, where it is a text or a whole number of 32 bits or more."""
        if kind == _STRING:
            return self.text()
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in _SCALARS:
                self.at += _SCALARS[inner] * count
            else:
                for _ in range(count):
                    self.value(inner)
        elif kind in _SCALARS:
            self.at += _SCALARS[kind]
        else:
            raise ValueError(f"metadata of unknown type {kind}")
        return None


def check(path: Path) -> int:
    """Check that `path` is a GGUF file of a version that can be converted, and as long as its header says.

    Returns:
        How many weights it has.

    Raises:
        InputError: it is not, with what is wrong; sizes in bytes.
    """
    size = path.stat().st_size
    if size < len(MAGIC):
        raise _bad(path, f"it has {size} bytes")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != MAGIC:
            raise _bad(path, f"it begins with {data[:4]!r}, a GGUF file with {MAGIC!r}")
        try:
            expected, weights, _ = _read(_Header(data, 4))
        except (struct.error, IndexError):
            raise _bad(path, f"its header is cut off: the file ends after {size} bytes") from None
        except ValueError as error:
            raise _bad(path, str(error)) from None
    if size < expected:
        raise _bad(path, f"it is cut short: {size} bytes of {expected}")
    return weights


def described(data: bytes) -> tuple[dict[str, int | str], int]:
    """What the beginning of a GGUF file says: texts and numbers of its metadata by key, and how many weights it has.

    Raises:
        struct.error, IndexError: more of the file is needed.
        InputError: it is none.
    """
    if data[:4] != MAGIC:
        raise InputError(f"it begins with {data[:4]!r}, a GGUF file with {MAGIC!r}")
    try:
        _, weights, keys = _read(_Header(data, 4))
    except ValueError as error:
        raise InputError(str(error)) from None
    return keys, weights


def _read(header: _Header) -> tuple[int, int, dict[str, int | str]]:
    """Bytes that the file must have, the number of its weights, and its metadata as far as it is read."""
    version = header.number("I")
    if version not in (2, 3):
        raise ValueError(f"it has GGUF version {version}; versions 2 and 3 (little-endian) can be read")
    tensors, keys = header.number("Q"), header.number("Q")
    told: dict[str, int | str] = {}
    for _ in range(keys):
        key = header.text().decode(errors="replace")
        value = header.value(header.number("I"))
        if value is not None:
            told[key] = value.decode(errors="replace") if isinstance(value, bytes) else value
    alignment = int(told.get("general.alignment", 0)) or 32
    found = [_tensor(header) for _ in range(tensors)]
    start = -(-header.at // alignment) * alignment
    end = start + max(end for end, _ in found) if found else header.at
    return end, sum(elements for _, elements in found), told


def _tensor(header: _Header) -> tuple[int, int]:
    """Where the next tensor ends, from the start of the data, or starts if its type is not known; and its elements."""
    header.text()
    elements = 1
    for _ in range(header.number("I")):
        elements *= header.number("Q")
    kind, offset = header.number("I"), header.number("Q")
    block, width = _BLOCKS.get(kind, (1, 0))
    return offset + elements // block * width, elements


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} is not a whole GGUF file", cause=what, cure="get the file anew; its source may say the right size"
    )
