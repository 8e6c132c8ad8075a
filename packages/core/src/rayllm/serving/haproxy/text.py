"""Lines of HAProxy's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MODEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9/._~-]*", re.ASCII)
_LAST_PORT = 65535


def section(head: str, lines: Iterable[str]) -> str:
    """A section with its lines."""
    return "".join([f"{head}\n", *(f"    {line}\n" for line in lines)])


def address(host: str, port: int) -> str:
    """As `bind` and `server` take it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_name(text: str, what: str) -> None:
    """A model's, an alias's or a deployment's name.

    Raises:
        ValueError: it can't stand in a configuration file.
    """
    _check(_MODEL_NAME, text, what)


def check_host(text: str) -> None:
    """An address or a host's name.

    Raises:
        ValueError: it can't stand in a configuration file.
    """
    _check(_HOST, text, "host")


def check_key(text: str, what: str) -> None:
    """An internal key; it is not repeated in the error.

    Raises:
        ValueError: it can't stand in a header.
    """
    if not _KEY.fullmatch(text):
        raise ValueError(f"the internal key of {what} has characters that a header can't hold")


def check_port(port: int) -> None:
    """A port.

    Raises:
        ValueError: it is none.
    """
    if not 1 <= port <= _LAST_PORT:
        raise ValueError(f"{port} can't be a port")


def check_path(text: str) -> None:
    """A path of an engine.

    Raises:
        ValueError: it can't stand in a list of paths.
    """
    _check(_PATH, text, "path of an engine")


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} can't be a {what}")
