"""Are the lists of arguments that engine plugins bring what their engines say?

    python -m rayllm.serving.prepare.pinned_arguments [--write] [KIND ...]

Builds the environment of each installed engine for each kind of device (`cpu`, `cuda`) under `$RAYLLM_HOME`, asks the
engine in it, and shows where its plugin's list differs; `--write` corrects the list. The exit status is 1 where one
differs.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rayllm.engines import AnyEngine, Device
from rayllm.plugins import Plugins
from rayllm.serving.prepare.arguments import ask
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.sources import FetchProgress


def differences(engine: AnyEngine, kind: str, draft: Path, report: FetchProgress) -> Iterator[str]:
    """The lines in which an engine's pinned list is not what the engine says, as a diff.

    Args:
        engine: one that has `arguments`.
        kind: of the device; its environment is built if need be.
        draft: file that takes what the engine says.
        report: told what is going on.

    Raises:
        RayllmError: the environment can't be built, or the engine can't be asked.
    """
    if engine.arguments is None:
        return
    device = Device(kind=kind)
    ask(engine, ensure_environment(engine, "auto", device, report), device, draft)
    file = engine.arguments.pinned[kind]
    old, new = (path.read_text(encoding="utf-8").splitlines() if path.exists() else [] for path in (file, draft))
    yield from difflib.unified_diff(old, new, str(file), "what the engine says", lineterm="", n=0)


def main(arguments: Sequence[str]) -> int:
    """Compare all lists, or those of the kinds that are named."""
    status = 0
    kinds = [word for word in arguments if word != "--write"]
    for engine in Plugins.discover().engines.values():
        for kind, file in sorted(engine.arguments.pinned.items()) if engine.arguments else ():
            if kinds and kind not in kinds:
                continue
            draft = file.with_name(f".{file.name}.new")
            found = list(differences(engine, kind, draft, print))
            print("\n".join(found) or f"{file} is what {engine.name} says")  # noqa: T201 - this is a command
            if "--write" in arguments:
                draft.replace(file)
            else:
                draft.unlink()
                status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
