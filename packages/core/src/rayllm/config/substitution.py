"""`${env:NAME}` in a text value: secrets stay out of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayllm.config.document import Document, KeyPath

REFERENCE = re.compile(r"\$\{env:([^}]*)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def substitute(document: Document, text: str, path: KeyPath, environ: Mapping[str, str]) -> str:
    """The text with each variable's value in place; one that is not set is noted in the document."""
    wrong: list[tuple[str, str]] = []

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if not NAME.fullmatch(name):
            wrong.append((f"`{match[0]}` names no variable; it is written `${{env:NAME}}`", ""))
        elif name not in environ:
            wrong.append((f"the environment variable {name} is not set", f"export {name}=…"))
        else:
            document.raw[path] = text
            if environ[name]:
                document.secrets[environ[name]] = match[0]
                document.secrets[repr(environ[name])[1:-1]] = match[0]  # as it stands in a KeyError's text
            return environ[name]
        return match[0]

    value = REFERENCE.sub(value_of, text)
    for message, cure in wrong:
        document.problem(path, message, cure=cure)
    if wrong:
        document.unreadable.add(path)
    return value
