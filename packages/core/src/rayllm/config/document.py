"""A YAML file as plain data, with the place of every key and value, and the problems found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm.config.problems import Problem
from rayllm.names import described

KeyPath = tuple[str | int, ...]
"""Where something is in the data: `("models", "smollm2", "engine")`."""
Place = tuple[int, int]
"""Line and column, from 1."""


@dataclass(slots=True)
class Document:
    """What a file says, and where."""

    path: Path
    data: dict[str, Any] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    raw: dict[KeyPath, str] = field(default_factory=dict)
    """Text as written, of the values that came from the environment."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Those values, and what stands for them in texts: `{"hf_abc": "${env:TOKEN}"}`."""
    written: dict[KeyPath, str] = field(default_factory=dict)
    """Text as written, of the values that YAML reads as something else than it looks like: `on`, `0x10`, `1:30`."""
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)
    """Values that have their problem already: what else they look like says nothing."""

    def problem(self, path: KeyPath, message: str, *, choices: str = "", cure: str = "", key: bool = False) -> None:
        """Note a mistake at `path`'s value, at its key, or at the nearest thing above it that exists."""
        if path in self.unreadable:
            return
        line, column = self.place(path, key=key)
        self.problems.append(Problem(line, column, dotted(path), message, choices, cure))

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Line and column of a value, or of its key; of what should hold it where it is missing."""
        if path in self.values:
            return self.keys.get(path, self.values[path]) if key else self.values[path]
        return self.place(path[:-1], key=True) if path else (1, 1)

    def shown(self, path: KeyPath, value: Any) -> str:
        """The value for a person to read; never what came from the environment."""
        if path in self.raw:
            return f'"{self.raw[path]}"'
        if path in self.written:
            return f"{described(value)} (that is how YAML reads `{self.written[path]}`: put a text in quotes)"
        return described(value)

    def redacted(self, text: str) -> str:
        """A text of somebody else's, without the values that came from the environment."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, self.secrets[secret])
        return text


def dotted(path: KeyPath) -> str:
    """`models.smollm2.options.stop[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
