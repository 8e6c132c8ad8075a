"""Reading secrets on the operator's side; what is wrong with one is told without its value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rayllm.config.document import Document, KeyPath
from rayllm.config.schema import SecretSource

LONGEST = 65_536
"""Bytes of a secret."""
_OTHERS = 0o077
"""Permissions of the group and of everybody."""


def read_secrets(document: Document, sources: Mapping[str, SecretSource], environ: Mapping[str, str]) -> dict[str, str]:
    """The value of each secret, without white space around it; what can't be read is noted in the document.

    Args:
        document: the file; a relative path is meant from its folder.
        sources: where each secret is, by its name.
        environ: where variables are looked up.
    """
    found: dict[str, str] = {}
    for name, source in sources.items():
        if value := read_secret(document, ("secrets", name), source, environ):
            found[name] = value
            document.secrets[value] = f"the secret {name}"
    return found


def read_secret(
    document: Document, path: KeyPath, source: SecretSource, environ: Mapping[str, str], example: str = "…"
) -> str | None:
    """The text of one secret, without white space around it; None, and noted in the document, if it can't be read.

    `example` is what a cure sets a missing variable to.
    """
    if source.env is not None:
        return _of_variable(document, (*path, "env"), source.env, environ, example)
    return _of_file(document, (*path, "file"), source.file or "")


def _of_variable(document: Document, path: KeyPath, name: str, environ: Mapping[str, str], example: str) -> str | None:
    value = environ.get(name, "").strip()
    if not value:
        what = "is empty" if name in environ else "is not set"
        document.problem(path, f"the environment variable {name} {what}", cure=f"export {name}={example}")
    return value or None


def _of_file(document: Document, path: KeyPath, name: str) -> str | None:
    file = document.path.parent / Path(name).expanduser()
    try:
        if file.stat().st_mode & _OTHERS:
            mode = f"{file.stat().st_mode & 0o777:04o}"
            document.problem(path, f"{file} can be read by others (mode {mode})", cure=f"chmod 600 {file}")
            return None
        with file.open("rb") as opened:
            value = opened.read(LONGEST + 1).decode().strip()
    except FileNotFoundError:
        document.problem(path, f"there is no file {file}")
    except OSError as error:
        document.problem(path, f"{file} can't be read: {error.strerror}")
    except UnicodeDecodeError:
        document.problem(path, f"{file} is no text")
    else:
        if value and len(value) <= LONGEST:
            return value
        document.problem(path, f"{file} is " + ("no secret: it has more than 64 KiB" if value else "empty"))
    return None
