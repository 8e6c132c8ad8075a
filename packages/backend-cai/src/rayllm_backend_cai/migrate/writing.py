"""A RayLLM file's text, with comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rayllm.config.document import KeyPath


def written(data: Mapping[str, Any], head: Iterable[str], comments: Mapping[KeyPath, str]) -> str:
    """The file: `head` as comments at the top, `comments` beside the keys that they are about."""
    lines = [f"# {line}".rstrip() for line in head]
    return "\n".join([*lines, *_lines(data, (), comments)]) + "\n"


def _lines(data: Mapping[str, Any], path: KeyPath, comments: Mapping[KeyPath, str]) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in data.items():
        here = (*path, key)
        beside = f"  # {comments[here]}" if here in comments else ""
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(key)}:{beside}"
            yield from _lines(value, here, comments)
        else:
            yield f"{indent}{_scalar(key)}: {_scalar(value)}{beside}"


def _scalar(value: Any) -> str:
    """As YAML writes it on one line; what `${env:…}` would be is not meant here."""
    import yaml

    width = 1 << 20  # never folded: a comment may stand behind it
    style = '"' if isinstance(value, str) and "\n" in value else None
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=width, default_style=style)
    return text.removesuffix("...\n").strip()
