"""What is wrong with an `engine_args` block, in a person's words. Pure: nothing is read, asked or started."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rayllm.arguments.listing import Argument, ArgumentList, flag_of
from rayllm.engines import EngineArguments
from rayllm.names import described, did_you_mean

_WANTED: Mapping[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "size": ((int,), "a whole number, or one like 8k"),
    "float": ((int, float), "a number"),
    "text": ((str, int, float), "text"),
    "json": ((dict, list, str), "a mapping, or JSON as text,"),
    "text or json": ((dict, list, str, int, float), "text or a mapping"),
    "any": ((str, int, float), "a value"),
}
_SIZE = re.compile(r"\d+(\.\d+)?[kKmMgGtT]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One mistake. `message`, then the value where `shows_value`, then `hint` make the sentence."""

    path: tuple[str | int, ...]
    """Where in the block: the key, and the index where an item of its list is meant."""
    message: str
    hint: str = ""
    choices: str = ""
    """What would be valid."""
    shows_value: bool = False
    """`, found …` belongs behind the message; else it is about the key."""

    def sentence(self, values: Mapping[str, Any]) -> str:
        """`max-num-seqs[0]: a whole number expected, found text "x"`, for a block with these values."""
        value: Any = values
        for part in self.path:
            value = value[part]
        place = str(self.path[0]) + "".join(f"[{part}]" for part in self.path[1:])
        found = f", found {described(value)}" if self.shows_value else ""
        choices = f"   {self.choices}" if self.choices else ""
        return f"{place}: {self.message}{found}{self.hint}{choices}"


@dataclass(slots=True)
class _Check:
    """One pass over a block."""

    arguments: EngineArguments
    known: ArgumentList | None
    seen: dict[str, str] = field(default_factory=dict)
    """Keys by the argument that they name."""


def complaints(
    arguments: EngineArguments, known: ArgumentList | None, values: Mapping[str, Any]
) -> Sequence[Complaint]:
    """All mistakes in a block.

    Args:
        arguments: what the engine's plugin says of its arguments.
        known: the arguments of the engine that will run; None where nobody knows: then only those are refused that
            RayLLM sets.
        values: the block, as read from YAML.
    """
    check = _Check(arguments, known)
    return [complaint for key, value in values.items() for complaint in _of_key(check, key, value)]


def _of_key(check: _Check, key: str, value: Any) -> Iterator[Complaint]:
    flag = flag_of(key)
    head, dot, _ = flag.partition(".")
    argument = check.known.long(head) if check.known else None
    wrong = _reserved(check, head, argument) or _unknown(check, flag, argument) or _twice(check, key, flag, argument)
    if wrong:
        message, hint = wrong
        yield Complaint(path=(key,), message=message, hint=hint)
    elif argument and not dot:
        yield from _of_value(argument, flag, (key,), value)


def _reserved(check: _Check, flag: str, argument: Argument | None) -> tuple[str, str] | None:
    """It is RayLLM's own, or has an option."""
    if not argument and check.known:
        argument = check.known.short(flag)
    names = [flag_of(name) for name in (*argument.names, *argument.off)] if argument else []
    for name in (flag, flag.removeprefix("no-"), *names):
        if reason := check.arguments.owned.get(name):
            return f"can't be set here: {reason}", ""
    return None


def _unknown(check: _Check, flag: str, argument: Argument | None) -> tuple[str, str] | None:
    """No flag at all, or not of this version."""
    head, dot, rest = flag.partition(".")
    if not head:
        return "this is no flag", ""
    if not check.known:
        return None
    engine = f"{check.arguments.title} {check.known.version}"
    if argument is None:
        if short := check.known.short(head):
            return f"a short form; write `{short.key}`", ""
        named = {flag_of(name) for item in check.known.arguments for name in item.names if name.startswith("--")}
        return f"{engine} has no such argument", did_you_mean(head, named - check.arguments.owned.keys())
    if dot and not (check.arguments.dotted and rest and "json" in argument.type):
        return f"{head} of {engine} takes no keys of its own", ""
    return None


def _twice(check: _Check, key: str, flag: str, argument: Argument | None) -> tuple[str, str] | None:
    """Another key sets the same; of a JSON-valued argument, the whole and a part of it."""
    head, dot, rest = flag.partition(".")
    name = argument.key if argument else head
    clash = [name + dot + rest]
    clash += [name] if dot else [other for other in check.seen if other.startswith(f"{name}.")]
    first = next((check.seen[other] for other in clash if other in check.seen), None)
    check.seen.setdefault(name + dot + rest, key)
    return (f"sets the same as {first}, which stands here too", "") if first is not None else None


def _of_value(argument: Argument, flag: str, path: tuple[str | int, ...], value: Any) -> Iterator[Complaint]:
    if argument.type == "switch":
        yield from _of_switch(argument, flag, path, value)
    elif value is True and argument.nargs == "?":
        return
    elif isinstance(value, list) and "json" not in argument.type:
        yield from _of_list(argument, path, value)
    elif isinstance(argument.nargs, int):
        yield Complaint(path=path, message=f"a list of {argument.nargs} expected", shows_value=True)
    else:
        yield from _of_item(argument, path, value)


def _of_switch(argument: Argument, flag: str, path: tuple[str | int, ...], value: Any) -> Iterator[Complaint]:
    if not isinstance(value, bool):
        yield Complaint(path=path, message="true or false expected", shows_value=True)
    elif value is False and f"--{flag}" in argument.off:
        yield Complaint(path=path, message=f"turned off twice; write `{argument.key}: true`")
    elif value is False and not argument.off:
        yield Complaint(path=path, message="it can only be switched on; leave it out, or write true", shows_value=True)


def _of_list(argument: Argument, path: tuple[str | int, ...], value: Sequence[Any]) -> Iterator[Complaint]:
    if argument.nargs in {None, "?"} and not argument.repeated:
        yield Complaint(path=path, message="one value expected", shows_value=True)
    elif isinstance(argument.nargs, int) and len(value) != argument.nargs:
        yield Complaint(path=path, message=f"a list of {argument.nargs} expected, found one of {len(value)}")
    elif argument.nargs == "+" and not value:
        yield Complaint(path=path, message="at least one value expected, found an empty list")
    else:
        for index, item in enumerate(value):
            yield from _of_item(argument, (*path, index), item)


def _of_item(argument: Argument, path: tuple[str | int, ...], value: Any) -> Iterator[Complaint]:
    types, words = _WANTED[argument.type]
    if argument.choices:
        if isinstance(value, bool) or value not in argument.choices:
            shown = ", ".join(map(str, argument.choices))
            hint = did_you_mean(str(value), map(str, argument.choices))
            message = "one of its choices expected"
            yield Complaint(path=path, message=message, hint=hint, choices=f"choices: {shown}", shows_value=True)
    elif argument.type == "size" and isinstance(value, str) and _SIZE.fullmatch(value):
        return
    elif isinstance(value, bool) or not isinstance(value, types):
        yield Complaint(path=path, message=f"{words} expected", shows_value=True)
    elif argument.type == "json" and isinstance(value, str):
        try:
            json.loads(value)
        except ValueError as error:
            yield Complaint(path=path, message=f"not JSON ({error}); write it as a mapping", shows_value=True)
