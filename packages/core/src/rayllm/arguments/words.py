"""From `engine_args` to words of a command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rayllm.arguments.listing import Argument, ArgumentList, flag_of


def command_line(known: ArgumentList, values: Mapping[str, Any]) -> list[str]:
    """The flags as the engine's parser reads them; one that the list lacks is passed as its value looks."""
    found: list[str] = []
    for key, value in values.items():
        flag = flag_of(key)
        found += _words(flag, value, known.long(flag), dotted="." in flag)
    return found


def _words(flag: str, value: Any, argument: Argument | None, *, dotted: bool) -> Iterator[str]:
    takes = argument.type if argument else "any"
    if dotted or (takes in {"json", "text or json"} and not isinstance(value, str)):
        # A text stays as it is: the engine reads it as JSON itself where it is.
        yield f"--{flag}={value if isinstance(value, str) else json.dumps(value)}"
    elif value is True:
        yield f"--{flag}"
    elif value is False:
        off = argument.off if argument else ()
        yield off[0] if off and f"--no-{flag}" not in off else f"--no-{flag}"
    elif isinstance(value, list) and argument and argument.repeated:
        yield from (f"--{flag}={item}" for item in value)
    elif isinstance(value, list):
        yield from (f"--{flag}", *map(_text, value))
    else:
        # `=` keeps a value that begins with a dash from being taken for a flag.
        yield f"--{flag}={_text(value)}"


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
