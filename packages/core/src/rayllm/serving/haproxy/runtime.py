"""Changes that a HAProxy takes while it runs: replicas and map entries, told over its own command line.

What a configuration says is compared as text, so that this also holds for files that an earlier gateway wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rayllm.serving.haproxy.places import CONFIG_FILE, RUNTIME_SOCKET
from rayllm.serving.haproxy.sockets import ask

_MOST = 1000
"""Commands beyond which reading everything anew is quicker."""
_BATCH = 8000
"""Bytes of commands said at once: HAProxy takes as much as fits into its smallest buffer."""
_ENTRY = re.compile(r"[!-:<-\[\]-~]+ [!-:<-\[\]-~]+")
"""Key and value without what its command line treats specially: spaces, `;`, backslashes."""
_SAID = re.compile(r"New server registered\.|Server deleted\.")
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """What to say to get from one set of files to another."""

    commands: tuple[str, ...]
    leaving: frozenset[str] = frozenset()
    """Servers (`BACKEND/NAME`) that get no more requests; they can be deleted when no connection to them is left."""


@dataclass(slots=True)
class _Layout:
    """A configuration, taken apart: its servers by `BACKEND/NAME` with address and options, and all other lines."""

    rest: list[str] = field(default_factory=list)
    servers: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def change(before: Mapping[str, str], after: Mapping[str, str]) -> Change | None:
    """What tells a HAProxy that runs with the files `before` to go on as if with `after`; None if only a reload does.

    Args:
        before: text by name of file.
        after: the same, wanted.
    """
    differ = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    maps = {name for name in differ if name.endswith(".map")}
    if differ - maps - {CONFIG_FILE}:
        return None
    leaving: frozenset[str] = frozenset()
    commands: list[str] = []
    if CONFIG_FILE in differ:
        old, new = (_layout(text) for text in _differing(before[CONFIG_FILE], after[CONFIG_FILE]))
        stay = old.servers.keys() & new.servers.keys()
        if old.rest != new.rest or any(old.servers[name] != new.servers[name] for name in stay):
            return None
        commands += [line for name in sorted(new.servers.keys() - stay) for line in _added(new, name)]
        leaving = frozenset(old.servers.keys() - stay)
        commands += [f"set server {name} state maint" for name in sorted(leaving)]
    for name in sorted(maps):
        entries = _entries(before.get(name, "")), _entries(after.get(name, ""))
        if None in entries:
            return None
        commands += _mapped(name, *(each or {} for each in entries))
    return Change(tuple(commands), leaving) if len(commands) <= _MOST else None


def tell(run_dir: Path, commands: Iterable[str]) -> bool:
    """Say commands; False if HAProxy objects to one, and then some may have been taken.

    Raises:
        OSError: nobody listens there.
    """
    return all(
        not _SAID.sub("", ask(run_dir, RUNTIME_SOCKET, batch, _TIMEOUT_S)).strip() for batch in _batches(commands)
    )


def forget(run_dir: Path, leaving: Iterable[str]) -> set[str]:
    """Delete servers to which no connection is left; returns the others.

    Raises:
        OSError: nobody listens there.
    """
    answers = {name: ask(run_dir, RUNTIME_SOCKET, f"del server {name}", _TIMEOUT_S) for name in leaving}
    return {name for name, answer in answers.items() if "still has connections" in answer}


def _differing(before: str, after: str) -> tuple[str, str]:
    """Two configurations without the sections that they share: of a thousand models one has changed."""
    old, new = before.split("\n\n"), after.split("\n\n")
    shared = set(old) & set(new)
    return "\n".join(part for part in old if part not in shared), "\n".join(part for part in new if part not in shared)


def _layout(config: str) -> _Layout:
    found, backend = _Layout(), ""
    for line in config.splitlines():
        if line[:1].strip():
            _, _, backend = line.partition(" ")
        words = line.split(None, 2)
        if words[:1] == ["server"] and " id " in line:  # only replicas have a number of their own
            found.servers[f"{backend}/{words[1]}"] = words[2]
            continue
        if words[:1] == ["default-server"]:
            found.options[backend] = line.partition("default-server ")[2]
        found.rest.append(line)
    return found


def _added(layout: _Layout, name: str) -> Iterator[str]:
    # What is added while HAProxy runs takes nothing from `default-server`, and starts in maintenance, unchecked.
    yield f"add server {name} {layout.servers[name]} {layout.options[name.partition('/')[0]]}"
    yield f"enable health {name}"
    yield f"enable server {name}"


def _entries(text: str) -> dict[str, str] | None:
    """Entries of a map; None if one can't be said on a command line."""
    lines = text.splitlines()
    if not all(_ENTRY.fullmatch(line) for line in lines):
        return None
    return dict(line.split(" ") for line in lines)


def _mapped(file: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(before.keys() - after.keys()):
        yield f"del map {file} {key}"
    for key, value in sorted(after.items()):
        if key not in before:
            yield f"add map {file} {key} {value}"
        elif before[key] != value:
            yield f"set map {file} {key} {value}"


def _batches(commands: Iterable[str]) -> Iterator[str]:
    batch = ""
    for command in commands:
        if len(batch) + len(command) > _BATCH:
            yield batch
            batch = ""
        batch += f"{'; ' if batch else ''}{command}"
    if batch:
        yield batch
