"""Tables of a file's keys, by the JSON Schema of what validates them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs.page_parts import table
from pydantic import ByteSize, TypeAdapter

from rayllm.config.wording import PATTERNS

TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
    "null": "nothing",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "maxLength": "of at most {} characters",
    "minItems": "at least {}",
    "minProperties": "at least {}",
}
Json = dict[str, Any]


def model_blocks(schema: Json, title: str, place: str = "") -> Iterator[str]:
    """A table of keys, then one for each mapping within."""
    defs = schema.get("$defs", {})
    yield f"## {title}"
    yield from block(schema, defs, place)
    waiting = list(inner(schema, defs, place))
    while waiting:
        where, found = waiting.pop(0)
        yield f"## `{where}`"
        yield from block(found, defs, where)
        waiting = [*inner(found, defs, where), *waiting]


def block(schema: Json, defs: Json, place: str) -> Iterator[str]:
    """What the mapping is, and its keys."""
    yield schema.get("description", "")
    required = schema.get("required", ())
    rows = []
    for key, node in schema.get("properties", {}).items():
        target = defs.get(str(node.get("$ref", "")).rpartition("/")[2], {})
        told = node.get("description") or target.get("description", "")
        if not told:
            raise SystemExit(f"{place}.{key}: no docstring under the field")
        default = "required" if key in required else shown_default(node)
        examples = ", ".join(f"`{shown(example)}`" for example in node.get("examples", ()))
        told = " ".join(told.split()) + (f" Example: {examples}." if examples else "")
        rows.append((f"`{key}`", wording(node), default, told))
    yield table(("key", "type", "default", "meaning"), *rows)


def shown(value: Any) -> str:
    """A value as it is written in a file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shown_default(node: Json) -> str:
    """The value of a key that is left out."""
    if "default" not in node:
        return "`{}`"
    return "" if node["default"] is None else f"`{shown(node['default'])}`"


def number(value: float) -> float:
    """A bound as it is written in the code: some versions of pydantic give `0` of a float as `0.0`."""
    return int(value) if value == int(value) else value


def wording(node: Json) -> str:
    """A type in a person's words, with its bounds."""
    if node.get("anyOf") == TypeAdapter(ByteSize).json_schema()["anyOf"]:
        return "size, or a number of bytes"
    if "anyOf" in node:
        kinds = [wording(one) for one in node["anyOf"] if one.get("type") != "null"]
        return ", or ".join(dict.fromkeys(kinds))
    if "enum" in node:
        return ", ".join(f"`{shown(value)}`" for value in node["enum"])
    kind = TYPES.get(node.get("type", "object"), "anything")
    if kind == "list" and node.get("items"):
        kind = f"list of {wording(node['items'])}"
    bounds = [text.format(number(node[word])) for word, text in BOUNDS.items() if word in node]
    if node.get("minLength"):
        bounds.append("not empty")
    if "pattern" in node:
        bounds.append(PATTERNS.get(node["pattern"], f"`{node['pattern']}`"))
    return ", ".join([kind, *bounds])


def inner(schema: Json, defs: Json, place: str) -> Iterator[tuple[str, Json]]:
    """The mappings under a mapping's keys, with their places."""
    for key, node in schema.get("properties", {}).items():
        where = f"{place}.{key}" if place else key
        yield from referred(node, defs, where)
        for child in [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]:
            if isinstance(child, dict):
                yield from referred(child, defs, f"{where}[]" if child is node.get("items") else f"{where}.NAME")


def referred(node: Json, defs: Json, where: str) -> Iterator[tuple[str, Json]]:
    """The mappings that stand at one place."""
    for one in [node, *node.get("anyOf", [])]:
        target = defs.get(str(one.get("$ref", "")).rpartition("/")[2])
        if target and "properties" in target:
            yield where, target
