"""The flags of one version of an engine, as `dump.py` wrote them down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of an engine's parser, with all its flags."""

    names: tuple[str, ...]
    """Its flags with their dashes, the long one first: `--tensor-parallel-size`, `-tp`."""
    off: tuple[str, ...] = ()
    """Of a switch: the flags that turn it off."""
    type: str = "text"
    """`switch`, `int`, `size` (an int that may end in k, M, …), `float`, `text`, `json`, `text or json`, or `any`."""
    nargs: str | int | None = None
    """As argparse has it: None for one value, `?`, `*`, `+` or a number."""
    choices: tuple[Any, ...] = ()
    """The only values it takes; none where it takes others."""
    repeated: bool = False
    """Several values are given by repeating the flag."""

    @property
    def key(self) -> str:
        """How a person writes it: `tensor-parallel-size`."""
        return flag_of(self.names[0])


@dataclass(frozen=True, kw_only=True)
class ArgumentList:
    """All arguments of one version of an engine."""

    package: str
    """The distribution they were read from."""
    version: str
    arguments: tuple[Argument, ...]

    @cached_property
    def by_flag(self) -> Mapping[str, Argument]:
        """Every flag as it stands on a command line, with dashes between its words."""
        return {_dashed(name): item for item in self.arguments for name in (*item.off, *item.names)}

    def long(self, flag: str) -> Argument | None:
        """The argument of a long flag, named without dashes in front."""
        return self.by_flag.get(f"--{flag}")

    def short(self, flag: str) -> Argument | None:
        """The argument of a flag with one dash, named without it."""
        return self.by_flag.get(f"-{flag}")


def flag_of(key: str) -> str:
    """A flag without the dashes in front and with dashes between its words, for a key as a person wrote it.

    What follows a dot is the engine's own: `compilation_config.cache_dir` becomes `compilation-config.cache_dir`.
    """
    return _dashed(key.strip().lstrip("-"))


def _dashed(flag: str) -> str:
    head, dot, rest = flag.partition(".")
    return head.replace("_", "-") + dot + rest


@lru_cache(maxsize=32)
def read_list(path: Path) -> ArgumentList:
    """The list in a file that `dump.py` wrote.

    Raises:
        OSError: it can't be read.
        ValueError: it is not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        items = tuple(_argument(item) for item in data["arguments"])
        return ArgumentList(package=data["package"], version=data["version"], arguments=items)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no list of arguments: {type(error).__name__}: {error}") from error


def _argument(item: Mapping[str, Any]) -> Argument:
    lists = {name: tuple(item[name]) for name in ("names", "off", "choices") if name in item}
    return Argument(**{**item, **lists})
