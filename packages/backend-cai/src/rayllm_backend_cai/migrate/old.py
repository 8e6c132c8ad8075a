"""What stands in an old file, taken piece by piece: a value of a wrong type is noted, and what nobody took, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rayllm.config.document import KeyPath, Place, dotted
from rayllm.config.problems import Problem

NOT_READ = "ray-serve-cai did not read it either; left out"


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something that has no counterpart, or means something else now."""

    line: int
    """In the old file; 0 where there is none."""
    key: str
    """Dotted path in the old file."""
    text: str
    """What became of it."""


def nowhere(path: KeyPath) -> Place:  # noqa: ARG001
    """The place of what stands in no file."""
    return (0, 0)


@dataclass
class Notes:
    """What was noted on the way."""

    place: Callable[[KeyPath], Place] = nowhere
    """Where a key is."""
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """What makes the old file unreadable."""
    steps: dict[str, str] = field(default_factory=dict)
    """What a person does before the first `rayllm up`: a shell's command, and why."""

    def tell(self, path: KeyPath, text: str) -> None:
        """Note what became of the key at `path`."""
        self.notes.append(Note(self.place(path)[0], dotted(path), text))

    def refuse(self, path: KeyPath, message: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(*self.place(path), dotted(path), message))


class Block:
    """One mapping of the old file."""

    def __init__(self, data: object, notes: Notes, path: KeyPath = ()) -> None:
        self.notes = notes
        self.path = path
        self.data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        self._taken: set[str] = set()
        if data is not None and not isinstance(data, Mapping):
            notes.refuse(path, "keys and values expected")

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def block(self, key: str) -> Block:
        """A mapping in this one; empty if there is none."""
        return Block(self._take(key), self.notes, (*self.path, key))

    def text(self, key: str) -> str:
        """A text, empty if there is none."""
        return self._typed(key, "a text", str) or ""

    def whole(self, key: str, least: int = 0) -> int | None:
        """A whole number."""
        found: int | None = self._typed(key, "a whole number", int)
        if found is not None and found < least:
            self.notes.refuse((*self.path, key), f"at least {least} expected, found {found}")
        return found

    def number(self, key: str) -> float | None:
        """A number above 0."""
        found: float | None = self._typed(key, "a number", int, float)
        if found is not None and found <= 0:
            self.notes.refuse((*self.path, key), f"more than 0 expected, found {found}")
        return found

    def flag(self, key: str) -> bool:
        """True or false, false if there is none."""
        return bool(self._typed(key, "true or false", bool))

    def tell(self, key: str, text: str) -> None:
        """Note what became of a key, if it is there."""
        if key in self:
            self._taken.add(key)
            self.notes.tell((*self.path, key), text)

    def end(self, *known: str) -> None:
        """Note what nobody took, but for the `known`."""
        for key in self.data:
            if key not in self._taken and key not in known:
                self.notes.tell((*self.path, key), NOT_READ)

    def _take(self, key: str) -> Any:
        self._taken.add(key)
        return self.data.get(key)

    def _typed(self, key: str, wanted: str, *kinds: type) -> Any:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            # the value is not shown: it may be a secret at the wrong place
            self.notes.refuse((*self.path, key), f"{wanted} expected")
            return None
        return value
