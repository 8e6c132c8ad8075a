"""YAML nodes as plain data.

Keys are always the text as written (`on`, `1.5`), values follow YAML, except that dates stay text. Nothing in a file
can make Python objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from rayllm.config.document import Document, KeyPath, Place, dotted
from rayllm.config.problems import ConfigErrors, Problem
from rayllm.config.reading import read_node
from rayllm.config.substitution import substitute
from rayllm.names import LONGEST

MAX_DEPTH = 64
"""Levels of keys and lists inside one another; what reads the data further on has bounds of its own."""
MAX_NODES = 100_000
"""Keys and values of a file, anchors written out: more is an attack, not a deployment."""
TAG = "tag:yaml.org,2002:"


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a file and put `${env:NAME}` in place.

    What can be read around is noted in `problems` (a key written twice, a variable that is not set).

    Raises:
        ConfigErrors: it is not a YAML mapping at all.
    """
    import yaml

    document = Document(path)
    builder = _Builder(document, environ)
    node = read_node(path)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigErrors(path, [Problem(*_place(node), "", "expected keys and values, like `name: demo`")])
    document.data = builder.build(node, ())
    return document


class _Builder:
    """Turns PyYAML's nodes into plain data."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        from yaml.constructor import SafeConstructor

        self.document = document
        self.environ = environ
        self.scalars = SafeConstructor()
        self.open: set[int] = set()
        self.nodes = 0

    def build(self, node: Any, path: KeyPath) -> Any:
        """The node's value."""
        self.document.values[path] = _place(node)
        self._count(node, path)
        if id(node) in self.open:
            self._note(node, path, "an anchor that holds itself")
            self.document.unreadable.add(path)
            return None
        if node.id == "scalar":
            return self._scalar(node, path)
        self.open.add(id(node))
        try:
            if node.tag not in {TAG + "map", TAG + "seq"}:
                self._refuse_tag(node, path)
            if node.id == "sequence":
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in self._pairs(node, path):
            if key.value not in data:  # a merged key gives way to the mapping's own
                child = (*path, key.value)
                self.document.keys[child] = _place(key)
                data[key.value] = self.build(value, child)
        return data

    def _pairs(self, node: Any, path: KeyPath) -> Iterator[tuple[Any, Any]]:
        """The mapping's own keys, then those that it merges (`<<: *base`)."""
        self._count(node, path)
        lines: dict[str, int] = {}
        bases: list[Any] = []
        for key, value in node.value:
            if key.tag == TAG + "merge":
                bases += value.value if value.id == "sequence" else [value]
            elif key.id != "scalar":
                self._note(key, path, "a key must be text")
            elif key.value in lines:
                self._note(key, (*path, key.value), f"written twice; the first is on line {lines[key.value]}")
            else:
                lines[key.value] = key.start_mark.line + 1
                yield key, value
        for base in bases:
            if base.id != "mapping" or id(base) in self.open:
                self._note(base, path, "`<<` takes another mapping, or a list of them")
                continue
            self.open.add(id(base))
            yield from self._pairs(base, path)
            self.open.discard(id(base))

    def _scalar(self, node: Any, path: KeyPath) -> Any:
        if node.tag in {TAG + "str", TAG + "timestamp", TAG + "value"}:
            return substitute(self.document, node.value, path, self.environ)
        if node.tag not in {TAG + word for word in ("null", "bool", "int", "float")}:
            return self._refuse_tag(node, path)
        try:
            value = self.scalars.construct_object(node)
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(value)  # noqa: TRY301
        except (ValueError, KeyError):
            self._note(node, path, f"{node.value[:LONGEST]} is not a number that can be used here")
            self.document.unreadable.add(path)
            return None
        if value is not None and str(value).lower() != node.value.lower():
            self.document.written[path] = node.value
        return value

    def _refuse_tag(self, node: Any, path: KeyPath) -> None:
        self._note(node, path, f"the tag {node.tag.replace(TAG, '!!')} is not known", cure="leave the tag out")
        self.document.unreadable.add(path)

    def _note(self, node: Any, path: KeyPath, message: str, cure: str = "") -> None:
        self.document.problems.append(Problem(*_place(node), dotted(path), message, cure=cure))

    def _count(self, node: Any, path: KeyPath) -> None:
        if len(path) > MAX_DEPTH:
            self._note(node, (), f"nested more than {MAX_DEPTH} levels deep")
            raise ConfigErrors(self.document.path, self.document.problems)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._note(node, path, f"the file has more than {MAX_NODES} values, anchors written out")
            raise ConfigErrors(self.document.path, self.document.problems)


def _place(node: Any) -> Place:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
