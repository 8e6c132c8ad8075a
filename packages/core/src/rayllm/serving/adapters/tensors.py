"""Names, types and shapes of the tensors in a safetensors file, from its header alone.

The format: eight bytes of length (little endian), then so many bytes of JSON, `{NAME: {dtype, shape, data_offsets}}`,
then the data (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import InputError

_LENGTH = 8
_LONGEST = 100_000_000
"""Bytes of a header; the format's own bound."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor."""

    dtype: str
    """`F32`, `BF16`, `I32`, …"""
    shape: tuple[int, ...]


def tensors_of(file: Path) -> Mapping[str, Tensor]:
    """Every tensor of a file, by its name.

    Raises:
        InputError: it is no whole safetensors file.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(_LENGTH))
            told = json.loads(opened.read(min(length, _LONGEST)))
        told.pop("__metadata__", None)
        ends = max((one["data_offsets"][1] for one in told.values()), default=0)
        found = {name: Tensor(str(one["dtype"]), tuple(one["shape"])) for name, one in told.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            f"{file} is no safetensors file", cause=str(problem), cure="fetch or save it anew", topic="adapters"
        ) from problem
    if (missing := _LENGTH + length + ends - file.stat().st_size) > 0:
        raise InputError(f"{file} is cut off: {missing} bytes are missing", cure="fetch it anew", topic="adapters")
    return found
