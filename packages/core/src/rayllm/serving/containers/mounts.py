"""What of a node an engine in a container has to see."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rayllm.paths import home


def mounts_of(argv: Sequence[str], folder: Path) -> list[Path]:
    """Folders and files, none inside of another.

    They are all models of this node (adapters come while the engine runs), the model's folder with what its links lead
    to, and what the command names: a script's folder, since it may read what lies beside it, and files (a chat
    template). Another folder is left out: what an engine writes to stays in the container.

    Args:
        argv: the engine's command.
        folder: the model's.
    """
    models = home() / "models"
    models.mkdir(parents=True, exist_ok=True)
    wanted = {models, folder, *_led_to(folder), *_named(argv)}
    return [path for path in sorted(wanted) if not wanted.intersection(path.parents)]


def _led_to(folder: Path) -> Iterator[Path]:
    """A link is followed in the container, too: to the same path."""
    for file in folder.rglob("*"):
        if file.is_symlink() and file.exists():
            yield Path(os.path.normpath(file.parent / file.readlink()))


def _named(argv: Sequence[str]) -> Iterator[Path]:
    for word in argv:
        text = word.partition("=")[2] if word.startswith("--") else word
        if text.startswith("/") and (file := Path(os.path.normpath(text))).is_file():
            yield file.parent if file.suffix == ".py" else file
