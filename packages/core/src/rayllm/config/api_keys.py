"""Reading the API keys of `gateway.keys` on the operator's side; what is wrong with one is told without its value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rayllm.config.document import Document, KeyPath
from rayllm.config.schema import GatewayConfig, SecretSource
from rayllm.config.secret_values import read_secret
from rayllm.serving.key_limits import is_name

SHORTEST, LONGEST = 16, 512
"""Characters of a key."""
_BETWEEN = re.compile(r"[,\n]")
_IN_A_HEADER = re.compile(r"[!-~]+")
_PATH: KeyPath = ("gateway", "keys")


def read_keys(document: Document, gateway: GatewayConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The keys by their names, in their order; what can't be read is noted in the document.

    Args:
        document: the file; a relative path is meant from its folder.
        gateway: its block.
        environ: where variables are looked up.
    """
    if not isinstance(gateway.keys, SecretSource):
        return {}
    text = read_secret(document, _PATH, gateway.keys, environ, "$(rayllm keys new)")
    found: dict[str, str] = {}
    for number, entry in enumerate(filter(None, map(str.strip, _BETWEEN.split(text or ""))), 1):
        name, key = _parts(entry, found)
        document.secrets[key] = f"the key {name}"
        if wrong := _wrong(name, key, found):
            document.problem(_PATH, f"key {number} {wrong}", cure="one that is good: rayllm keys new")
        found.setdefault(name, key)
    return found


def _parts(entry: str, others: Mapping[str, str]) -> tuple[str, str]:
    """Name and key. The padding at the end of a key in base64 is no sign between the two."""
    name, equals, key = entry.partition("=")
    if equals and key.strip("="):
        return name.strip(), key.strip()
    free = (f"default-{number}" if number else "default" for number in range(len(others) + 1))
    return next((name for name in free if name not in others), ""), entry


def _wrong(name: str, key: str, others: Mapping[str, str]) -> str:
    if not is_name(name):
        return "has before its `=` what is no name of letters, digits, `.`, `_` and `-`"
    if name in others:
        return "has the name of another one"
    if key in others.values():
        return "is the same as another one"
    if not SHORTEST <= len(key) <= LONGEST:
        return f"has {len(key)} characters; {SHORTEST} to {LONGEST} expected"
    if not _IN_A_HEADER.fullmatch(key):
        return "has a space or a character beyond ASCII, which no header can hold"
    return ""
