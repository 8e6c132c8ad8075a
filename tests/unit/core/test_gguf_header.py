"""GGUF files, whole and otherwise."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rayllm import InputError
from rayllm.serving.weights.gguf_header import check


def text(value: bytes) -> bytes:
    """A string as GGUF writes it."""
    return struct.pack("<Q", len(value)) + value


def gguf(*, version: int = 3, alignment: int = 64, kind: int = 2, data: int = 72) -> bytes:
    """A file with one value of each form and two tensors: 64 weights in Q4_0 (36 bytes), then 64 more."""
    keys = [
        text(b"general.alignment") + struct.pack("<II", 4, alignment),
        text(b"general.name") + struct.pack("<I", 8) + text(b"tiny"),
        text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b"),
        text(b"scores") + struct.pack("<IIQff", 9, 6, 2, 0.5, 1.5),
        text(b"flag") + struct.pack("<IB", 7, 1),
    ]
    tensors = [
        text(b"first") + struct.pack("<IQQIQ", 2, 32, 2, kind, 0),
        text(b"second") + struct.pack("<IQIQ", 1, 64, kind, 36),
    ]
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys + tensors)
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + bytes(data)


@pytest.mark.parametrize("content", [gguf(), gguf(version=2), gguf(kind=99, data=36)])
def test_whole_files(tmp_path: Path, content: bytes) -> None:
    """Both versions, and tensors of a type that is not known here."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it has 0 bytes"),
        (b"<!DOCTYPE html>", "it begins with b'<!DO'"),
        (gguf(version=1), "it has GGUF version 1"),
        (gguf(data=71), f"it is cut short: {len(gguf()) - 1} bytes of {len(gguf())}"),
        (gguf()[:60], "its header is cut off: the file ends after 60 bytes"),
        (gguf()[:24] + struct.pack("<Q", 1 << 60) + gguf()[32:], "its header is cut off"),
        (gguf()[:49] + struct.pack("<I", 77) + gguf()[53:], "metadata of unknown type 77"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, cause: str) -> None:
    """The error names the file and what is wrong with it, with sizes."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.gguf is not a whole GGUF file") as caught:
        check(path)
    assert caught.value.cause is not None
    assert cause in caught.value.cause
