"""Walk through a tutorial as a reader does: `python docs/walk.py docs/tutorials/engine.md FOLDER`.

Every block of the page is used, in order:

- `console`: each line that begins with `$ ` is run by a shell in FOLDER, with the programs of this Python first. What
  stands below it is what it has to print, where `…` stands for anything.
- any other block belongs to the file that the line above it ends with (`` `path`: ``). A file that is not there is
  written, and one that is there has to be the same; a block that is one function takes the place of that function.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:^(?P<above>[^\n]+)\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([^`]+)`:$")
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    language: str
    text: str
    file: str | None
    """The file that it belongs to; None for one of the console."""


def blocks(page: str) -> Iterator[Block]:
    """Every block, in order.

    Raises:
        ValueError: one belongs to no file.
    """
    for found in _BLOCK.finditer(page):
        above = found["above"] or ""  # none between two blocks
        file = _FILE.search(above)
        if found["language"] != "console" and file is None:
            raise ValueError(f"no file is named above the block after {above!r}")
        yield Block(found["language"], found["text"], file[1] if file else None)


def put(block: Block, folder: Path) -> None:
    """Bring a block into its file below `folder`.

    Raises:
        ValueError: the file is there, and is another one.
    """
    file = folder / str(block.file)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
    elif block.language == "python" and (name := _one_function(block.text)):
        file.write_text(_with_function(file.read_text(encoding="utf-8"), name, block.text), encoding="utf-8")
    elif file.read_text(encoding="utf-8") != block.text:
        raise ValueError(f"{block.file} is not what the page shows")


def run(block: Block, folder: Path) -> None:
    """Run the commands of a console's block.

    Raises:
        ValueError: one failed, or printed something else.
    """
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
        command, wanted = "\n".join(lines[:length]), "\n".join(lines[length:]).strip()
        print(f"$ {command}", flush=True)
        said, status = shell(command, folder)
        print(said, flush=True)
        if status:
            raise ValueError(f"{command} ended with {status}")
        if wanted and not matches(wanted, said):
            raise ValueError(f"{command} did not print what the page shows:\n{wanted}")


def shell(command: str, folder: Path) -> tuple[str, int]:
    """What a command prints, and its exit status."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.stdout.strip(), done.returncode


def matches(wanted: str, said: str) -> bool:
    """Whether that was printed; blanks count as one, since a table is as wide as its widest cell."""
    shown, told = (" ".join(text.split()) for text in (wanted, said))
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), told) is not None


def _one_function(text: str) -> str | None:
    """The name of the one function that a block is."""
    body = ast.parse(text).body
    return body[0].name if len(body) == 1 and isinstance(body[0], ast.FunctionDef) else None


def _with_function(source: str, name: str, text: str) -> str:
    """A module with another function in the place of the one of that name.

    Raises:
        ValueError: it has none of that name.
    """
    lines = source.splitlines(keepends=True)
    for found in ast.parse(source).body:
        if isinstance(found, ast.FunctionDef) and found.name == name:
            return "".join([*lines[: found.lineno - 1], text, *lines[found.end_lineno :]])
    raise ValueError(f"there is no function {name} to take the place of")


def main() -> None:
    """Walk through one page; ends with what went wrong."""
    page, folder = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.language == "console":
                run(block, folder)
            else:
                put(block, folder)
    except ValueError as error:
        raise SystemExit(f"{page}: {error}") from error


if __name__ == "__main__":
    main()
