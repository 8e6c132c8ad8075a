"""What is wrong with a file: every problem at its place, in one error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake, and where it is."""

    line: int
    """From 1; 0 where the file as a whole is meant."""
    column: int
    """From 1; 0 where the file as a whole is meant."""
    name: str
    """Dotted path of the key, `models.smollm2.engine`; empty for the file itself."""
    message: str
    """What is wrong."""
    choices: str = ""
    """What would be valid: `installed: vllm, sglang`; may be empty."""
    cure: str = ""
    """What to do; may be empty."""

    def render(self, path: Path) -> str:
        """`rayllm.yaml:7:13  models.a.engine: no engine "vlm"   installed: vllm`, and the cure below it."""
        place = f"{path}:{self.line}:{self.column}" if self.line else str(path)
        text = f"{place}  {self.name}: {self.message}" if self.name else f"{place}  {self.message}"
        if self.choices:
            text += f"   {self.choices}"
        if self.cure:
            text += f"\n{' ' * len(place)}  → {self.cure}"
        return text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `rayllm validate --json` prints."""

    file: str
    """The file, as it was named."""
    valid: bool
    """True if there are no problems."""
    problems: Sequence[Problem] = ()
    """All that is wrong, in the order of the file."""


class ConfigErrors(InputError):  # noqa: N818 - it holds them all
    """All that is wrong with a file. Nothing was changed."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems: Sequence[Problem] = sorted(set(problems))
        count = len(self.problems)
        lines = [problem.render(path) for problem in self.problems]
        super().__init__(
            "\n".join([*lines, f"{count} problem{'s' * (count != 1)}, nothing was changed."]), topic="config"
        )
