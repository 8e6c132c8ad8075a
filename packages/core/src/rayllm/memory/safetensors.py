"""What the headers of safetensors files say of a model's weights.

A file begins with the length of its header (8 bytes, little-endian) and the header, a JSON object that has type, shape
and place of every tensor: https://huggingface.co/docs/safetensors/index#format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any

from rayllm.errors import InputError
from rayllm.sources import ModelFiles

_LENGTH = 8
_FIRST = 1 << 17
"""Bytes that are read at first: most headers are shorter."""
_LONGEST = 100 << 20
"""No header is longer; the format's own limit."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors of one type."""

    dtype: str
    """As the format names it: `BF16`, `F8_E4M3`, `I32`, …"""
    elements: int
    size: int
    """Bytes in the files."""
    expert: bool = False
    """True for the experts of a mixture."""


def read_weights(files: ModelFiles, names: Iterable[str]) -> list[Weights]:
    """All tensors of these files, summed by type.

    Raises:
        RayllmError: a header can't be read, or is none.
    """
    sums: dict[tuple[str, bool], list[int]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for tensors in pool.map(lambda name: _tensors(files, name), names):
            for one in tensors:
                so_far = sums.setdefault((one.dtype, one.expert), [0, 0])
                so_far[0] += one.elements
                so_far[1] += one.size
    return [Weights(dtype, elements, size, expert) for (dtype, expert), (elements, size) in sorted(sums.items())]


def _tensors(files: ModelFiles, name: str) -> list[Weights]:
    begin = files.read(name, 0, _FIRST)
    length = int.from_bytes(begin[:_LENGTH], "little")
    if len(begin) < _LENGTH or not 0 < length <= _LONGEST:
        raise InputError(f"{name} is no safetensors file")
    text = begin[_LENGTH : _LENGTH + length]
    text += files.read(name, _LENGTH + len(text), length - len(text)) if len(text) < length else b""
    try:
        header: dict[str, Any] = json.loads(text)
        return [_tensor(tensor, facts) for tensor, facts in header.items() if tensor != "__metadata__"]
    except (ValueError, TypeError, AttributeError, KeyError):
        raise InputError(f"the header of {name} can't be read") from None


def _tensor(name: str, facts: Mapping[str, Any]) -> Weights:
    start, end = map(int, facts["data_offsets"])
    return Weights(str(facts["dtype"]), prod(map(int, facts["shape"])), end - start, ".experts." in name)
