"""A file's bytes as one YAML node, and every way in which that fails as a sentence with its place."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

from rayllm.config.problems import ConfigErrors, Problem
from rayllm.errors import InputError

_DEFAULT = Path("rayllm.yaml")
"""What every command reads, and `rayllm init` writes, where no file is named."""
MAX_BYTES = 256 << 10
"""A thousand models; more would take PyYAML longer than a person waits."""
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""What a file begins with that is not UTF-8; the longer one first."""
_AT_ITS_BEGINNING = (
    (r"quoted scalar.*unexpected end of stream", "a quoted text that begins here does not end"),
    (r"could not find expected ':'", "a key and a value expected, like `name: demo`"),
)
"""PyYAML's context and problem, and what a person needs to know at the place where the context began."""
_IN_WORDS = (
    (
        r"double-quoted scalar.*(unknown escape|expected escape sequence)",
        "a backslash in double quotes that begins no special character: write a Windows path in single quotes",
    ),
    (
        r"mapping values are not allowed here",
        "a second `: ` (put such a text in quotes), a line indented too far, or one above without its `:`",
    ),
    (r"expected <block end>", "the indentation fits no line above, or something follows a value that is complete"),
    (r"(?P<what>'.') that cannot start any token", "a text that begins with {what} needs quotes"),
    (r"duplicate anchor (?P<what>'.*?')", "the anchor {what} is there twice"),
    (r"undefined alias (?P<what>'.*?')", "there is no anchor {what} above"),
)
"""The same, told where PyYAML noticed it."""


def read_node(path: Path) -> Any:
    """The file's one document.

    Raises:
        InputError: there is no such file, or it can't be read.
        ConfigErrors: it is not one document of YAML in UTF-8, or is larger than 256 KiB.
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


def _init(path: Path) -> str:
    """The command that writes this very file, and no other one that may be of worth."""
    return "rayllm init" if path == _DEFAULT else f"rayllm init -f {shlex.quote(str(path))}"


def _read(path: Path) -> bytes:
    try:
        # A pipe without a writer would hold an ordinary open for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            os.set_blocking(file.fileno(), True)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", cure=f"{_init(path)} writes one; -f FILE names another") from error
    except OSError as error:
        raise InputError(f"{path} can't be read", cause=error.strerror or str(error)) from error
    if len(content) > MAX_BYTES:
        raise _refusal(path, 0, 0, "larger than 256 KiB: this is no deployment's file")
    return content


def _decode(path: Path, content: bytes) -> str:
    for mark, encoding in _OTHER_ENCODINGS:
        if content.startswith(mark):
            raise _refusal(path, 1, 1, f"the file is {encoding}; save it as UTF-8")
    if b"\0" in content[:4]:
        raise _refusal(path, 1, 1, "the file is UTF-16, UTF-32 or no text at all; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        byte = content[error.start]
        raise _refusal(path, *_place(before), f"not UTF-8: the byte 0x{byte:02x}; save the file as UTF-8") from error


def _compose(path: Path, loader: Any) -> Any:
    if not loader.check_node():
        raise _refusal(path, 1, 1, "the file is empty", cure=f"{_init(path)} --force writes an example")
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
    said = f"{error.context}: {error.problem}"
    for pattern, message in _AT_ITS_BEGINNING:
        if re.search(pattern, said) and (began := error.context_mark):
            return _refusal(path, began.line + 1, began.column + 1, message)
    for pattern, words in _IN_WORDS:
        if found := re.search(pattern, said):
            return _refusal(path, line, column, words.format(**found.groupdict()))
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
