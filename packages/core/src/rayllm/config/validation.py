"""Pydantic's errors in a person's words, at their places in the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rayllm.config.document import Document, KeyPath
from rayllm.config.fields import keys_at
from rayllm.config.wording import WANTED, Error, choices, in_words
from rayllm.names import did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Block:
    """What is checked, against what."""

    document: Document
    model: type[BaseModel]
    data: Any
    prefix: KeyPath
    unknown: str


def validate(document: Document, model: type[ModelT], data: Any, prefix: KeyPath, unknown: str) -> ModelT | None:
    """Check a block as JSON is checked: a list may become a tuple, a text an Enum or a Path, a text never a number.

    Args:
        document: takes every error as a problem.
        model: what the block must be.
        data: the block's content.
        prefix: where the block is in the document.
        unknown: what is said of a key that is not known: `engine "vllm" has no such option`.

    Returns:
        The model, or None where something is wrong.

    Raises:
        Exception: what a plugin's own validator may raise beside what pydantic foresees.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        block = _Block(document, model, data, prefix, unknown)
        groups: dict[KeyPath, list[tuple[KeyPath, Error]]] = {}
        for item in error.errors(include_url=False):
            path, base = _locate(data, item)
            groups.setdefault(base, []).append((path, item))
        for base, found in groups.items():
            for path, items in _of_one_branch(base, found).items():
                _note(block, path, items)
    return None


def _locate(data: Any, error: Error) -> tuple[KeyPath, KeyPath]:
    """Where the error is in the data, and where the union begins whose branch it is about (else the same)."""
    path: list[str | int] = []
    base: KeyPath | None = None
    location = error["loc"]
    for index, part in enumerate(location):
        missing = error["type"] == "missing" and index == len(location) - 1
        if missing or (isinstance(data, dict) and part in data):
            path.append(part)
            data = None if missing else data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
        elif part != "[key]" and base is None:  # the name of a union's branch, or of a validator
            base = tuple(path)
    return tuple(path), tuple(path) if base is None else base


def _of_one_branch(base: KeyPath, found: Sequence[tuple[KeyPath, Error]]) -> dict[KeyPath, list[Error]]:
    """Errors by place. Of a union's branches, those count that the value came nearest to."""
    inside = [(path, item) for path, item in found if path != base]
    valued = [(path, item) for path, item in found if item["type"] not in {*WANTED, "literal_error"}]
    named = [(path, item) for path, item in found if item["type"] not in WANTED]
    by_place: dict[KeyPath, list[Error]] = {}
    for path, item in inside or valued or named or found:
        by_place.setdefault(path, []).append(item)
    return by_place


def _note(block: _Block, path: KeyPath, errors: Sequence[Error]) -> None:
    document, place = block.document, (*block.prefix, *path)
    kinds = {error["type"] for error in errors}
    if "extra_forbidden" in kinds:
        keys = keys_at(block.model, path[:-1])
        message = block.unknown + did_you_mean(str(path[-1]), keys)
        document.problem(place, message, choices=f"known: {', '.join(keys)}" if keys else "it has none", key=True)
    elif "missing" in kinds:
        document.problem(place, "required, and missing")
    elif errors[0]["loc"][-1:] == ("[key]",):
        document.problem(place, f'"{path[-1]}" is not a name: {in_words(errors[0])}', key=True)
    elif kinds <= set(WANTED):
        wanted = " or ".join(dict.fromkeys(WANTED[error["type"]] for error in errors))
        document.problem(place, f"{wanted} expected, found {_shown(block, path)}")
    else:
        for error in errors:
            if error["type"] not in WANTED:
                found = _found(block, path)
                hint = did_you_mean(str(_at(block.data, path)), choices(error))
                document.problem(place, document.redacted(in_words(error)) + found + hint)


def _found(block: _Block, path: KeyPath) -> str:
    value = _at(block.data, path)
    if isinstance(value, dict | list):
        return ""
    return f", found {_shown(block, path)}"


def _shown(block: _Block, path: KeyPath) -> str:
    return block.document.shown((*block.prefix, *path), _at(block.data, path))


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data
