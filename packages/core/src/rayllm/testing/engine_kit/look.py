"""Looking at a plugin from outside: a Python of its own imports it and calls it, and tells what it did meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0
_ELSEWHERE = {
    "HOME": "/nowhere",
    "USER": "somebody",
    "TZ": "Pacific/Kiritimati",
    "LANG": "C",
    "CUDA_VISIBLE_DEVICES": "5",
    "HF_TOKEN": "another",
    "OMP_NUM_THREADS": "3",
}
"""What is otherwise on another machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a plugin did in a Python of its own."""

    printed: str
    """On standard output and standard error together."""
    cpu_ms: float = 0.0
    """Milliseconds of CPU time that its discovery took."""
    foreign: Sequence[str] = ()
    """Packages that it imported beside its own, RayLLM's, pydantic's and the standard library."""
    calls: Sequence[Any] = ()
    """What each call of `commands` returned or raised, as text."""
    acts: Sequence[str] = ()
    """What `commands` did beside returning: files opened, programs started, …"""
    mutated: Sequence[str] = ()
    """Options that `commands` changed in the launch."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    """By kind of device: what `check` returned (`found`), how it broke (`error`), `seconds` and `acts`."""


def look(program: str, request: Mapping[str, Any], *, elsewhere: bool = False) -> Seen:
    """Run `main` of a module of the kit with a request.

    Args:
        program: the module.
        request: what it is told, as JSON.
        elsewhere: on what looks like another machine: other variables, another folder, another seed of hashes.

    Raises:
        subprocess.TimeoutExpired: the plugin did not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        code = f"from {program} import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", code, json.dumps(request), str(answer)],
            cwd=folder if elsewhere else None,
            env=_environ(elsewhere=elsewhere),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            text=True,
            errors="replace",
            check=False,
        )
        told = json.loads(answer.read_text()) if answer.exists() else {}
    return Seen(printed=ended.stdout, **told)


def _environ(*, elsewhere: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    own = {"PYTHONPATH": path, "PYTHONHASHSEED": "7" if elsewhere else "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **(_ELSEWHERE if elsewhere else {}), **own}
