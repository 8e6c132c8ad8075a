"""Write down the arguments of a parser: a script of the standard library, run by the Python of an engine.

    python dump.py DISTRIBUTION FILE < CODE     # CODE defines `parser`, an argparse.ArgumentParser
    python dump.py                              # what is installed, one `name==version` a line

Defaults are left out: they depend on the machine. What a value must look like is found by trying the parser's own
converters, since most engines have them as functions without a name that tells anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

_NOT_SETTINGS = ("_HelpAction", "_VersionAction", "_SubParsersAction")
_BY_TYPE = {None: "text", str: "text", int: "int", float: "float"}


def described(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    """Each argument that has a flag, in the order of their names."""
    flags: dict[int, list[str]] = {}
    actions: dict[int, argparse.Action] = {}
    # The parser's own table also has the flags that an action hides from its help.
    for flag, action in parser._option_string_actions.items():  # noqa: SLF001 - there is no public way
        actions[id(action)] = action
        flags.setdefault(id(action), []).append(flag)
    rows = [
        _described(parser, action, flags[key])
        for key, action in actions.items()
        if type(action).__name__ not in _NOT_SETTINGS
    ]
    yield from sorted(rows, key=lambda row: str(row["names"][0]))


def _described(parser: argparse.ArgumentParser, action: argparse.Action, flags: list[str]) -> dict[str, Any]:
    shown = list(action.option_strings)
    flags.sort(key=lambda flag: (not flag.startswith("--"), [*shown, flag].index(flag), flag))
    if action.nargs == 0:
        off = [flag for flag in flags if _sets(parser, action, flag) is False]
        names = [flag for flag in flags if flag not in off]
        # A flag that only ever turns something off is a switch by itself.
        return {"names": names, "off": off, "type": "switch"} if names and off else {"names": flags, "type": "switch"}
    row: dict[str, Any] = {"names": flags, "type": _type(action.type)}
    if action.nargs is not None:
        row["nargs"] = action.nargs
    if action.choices is not None:
        row["choices"] = [choice for choice in action.choices if isinstance(choice, str | int | float)]
    if type(action).__name__ in {"_AppendAction", "_ExtendAction"}:
        row["repeated"] = True
    return row


def _sets(parser: argparse.ArgumentParser, action: argparse.Action, flag: str) -> Any:
    """What a flag without a value sets."""
    space = argparse.Namespace()
    action(parser, space, [], flag)
    return getattr(space, action.dest, None)


def _type(converter: Any) -> str:
    """What the converter of a flag's value takes."""
    if converter in _BY_TYPE:
        return _BY_TYPE[converter]
    objects = any(not isinstance(_tried(converter, text), str | None) for text in ('{"a": 1}', "{}", "[]"))
    if _tried(converter, "some words") is not None:
        return "text or json" if objects else "text"
    if objects:
        return "json"
    if _tried(converter, "3") is None:
        return "any"
    if _tried(converter, "1.5") is not None:
        return "float"
    return "size" if _tried(converter, "2k") is not None else "int"


def _tried(converter: Callable[[str], Any], text: str) -> Any:
    """What it makes of a text; None where it refuses it."""
    try:
        return converter(text)
    except Exception:  # noqa: BLE001 - it is anybody's
        return None


def _write(distribution: str, file: Path) -> None:
    space: dict[str, Any] = {}
    exec(sys.stdin.read(), space)  # noqa: S102 - the code is the engine plugin's
    head = json.dumps({"package": distribution, "version": version(distribution)})[:-1]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in described(space["parser"]))
    file.write_text(f'{head}, "arguments": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    # The folder of this script: its modules would hide installed ones of the same name.
    del sys.path[0]
    if sys.argv[1:]:
        _write(sys.argv[1], Path(sys.argv[2]))
    else:
        lines = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
        print("\n".join(sorted(lines)))  # noqa: T201 - what the parent reads
