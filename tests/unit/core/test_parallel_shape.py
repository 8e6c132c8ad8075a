"""How a replica is split into parts, and what is said of a split that can't be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rayllm import InputError, Shape


@pytest.mark.parametrize(
    ("gpus", "sizes", "made"),
    [
        (0, {}, Shape()),
        (1, {}, Shape()),
        (8, {}, Shape(tensor=8)),
        (8, {"pipeline": 2}, Shape(tensor=4, pipeline=2)),
        (8, {"data": 8, "expert": True}, Shape(data=8, expert=True)),
        (16, {"tensor": 4, "pipeline": 2, "data": 2}, Shape(tensor=4, pipeline=2, data=2)),
        (0, {"tensor": 2, "pipeline": 3}, Shape(tensor=2, pipeline=3)),
    ],
)
def test_tensor_parallel_takes_what_is_left(gpus: int, sizes: dict[str, Any], made: Shape) -> None:
    """Of the GPUs; on CPUs there are as many parts as are asked for."""
    assert Shape.of(gpus, **sizes) == made
    assert made.parts == made.tensor * made.pipeline * made.data


@pytest.mark.parametrize(
    ("gpus", "sizes", "words", "cure"),
    [
        (2, {"tensor": 4}, "tensor parallel 4 makes 4 parts, more than the 2 GPUs of a replica", "come to 4 GPUs"),
        (1, {"data": 2}, "data parallel 2 makes 2 parts, more than the 1 GPU of a replica", "whose product is 1"),
        (8, {"pipeline": 3}, "tensor parallel 2 × pipeline parallel 3 makes 6 parts, less than the 8 GPUs", "is 8"),
    ],
)
def test_all_gpus_are_used(gpus: int, sizes: dict[str, Any], words: str, cure: str) -> None:
    """Neither more than there are, nor some of them left idle."""
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        Shape.of(gpus, **sizes)
    assert cure in str(caught.value.cure)


def test_each_node_has_as_many_parts() -> None:
    """Or the split is refused."""
    assert Shape(tensor=4, pipeline=2).on_each_of(2) == 4
    assert Shape().on_each_of(1) == 1
    words = "tensor parallel 1 makes 1 part, which can't be spread evenly over 2 nodes"
    with pytest.raises(InputError, match=words) as caught:
        Shape().on_each_of(2)
    assert "a multiple of 2" in str(caught.value.cure)
