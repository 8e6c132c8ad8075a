"""A file's bytes as one YAML node, and every way in which that fails as a sentence with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayllm.config.problems import ConfigErrors, Problem
from rayllm.errors import InputError

MAX_BYTES = 1 << 20


def read_node(path: Path) -> Any:
    """The file's one document.

    Raises:
        InputError: there is no such file, or it can't be read.
        ConfigErrors: it is not one document of YAML in UTF-8, or is larger than 1 MiB.
    """
    text = _decode(path, _read(path))
    import yaml
    from yaml.reader import ReaderError

    try:
        loader = yaml.SafeLoader(text)
        node = _compose(path, loader)
    except ReaderError as error:
        raise _refusal(
            path, *_place(text[: error.position]), f"a control character: U+{error.character:04X}"
        ) from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, error) from error
    except RecursionError as error:
        raise _refusal(path, 0, 0, "nested too deeply") from error
    return node


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", cure="rayllm init writes one; -f FILE names another") from error
    except OSError as error:
        raise InputError(f"{path} can't be read", cause=error.strerror or str(error)) from error
    if len(content) > MAX_BYTES:
        raise _refusal(path, 0, 0, "larger than 1 MiB: this is no deployment's file")
    return content


def _decode(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refusal(path, 1, 1, "the file is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        byte = content[error.start]
        raise _refusal(path, *_place(before), f"not UTF-8: the byte 0x{byte:02x}; save the file as UTF-8") from error


def _compose(path: Path, loader: Any) -> Any:
    if not loader.check_node():
        raise _refusal(path, 1, 1, "the file is empty", cure="rayllm init --force writes an example")
    node = loader.get_node()
    if loader.check_node():
        mark = loader.get_node().start_mark
        message = "a second document (after `---`); each deployment has its own file"
        raise _refusal(path, mark.line + 1, mark.column + 1, message)
    return node


def _syntax_error(path: Path, error: Any) -> ConfigErrors:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if mark and mark.buffer and mark.buffer[mark.pointer : mark.pointer + 1] == "\t":
        return _refusal(path, line, column, "a tab; YAML indents with spaces")
    message = f"not valid YAML: {error.problem or error}"
    if error.context:
        began = f", line {error.context_mark.line + 1}" if error.context_mark else ""
        message += f" ({error.context}{began})"
    return _refusal(path, line, column, message)


def _place(before: str) -> tuple[int, int]:
    """Line and column of what follows `before`."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _refusal(path: Path, line: int, column: int, message: str, *, cure: str = "") -> ConfigErrors:
    return ConfigErrors(path, [Problem(line, column, "", message, cure=cure)])
