"""Running a program of the kit in a Python of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 300.0
_RUN = """
import json, sys
from importlib import import_module
from pathlib import Path
told = import_module(sys.argv[1]).main(json.loads(sys.argv[2]))
Path(sys.argv[3]).write_text(json.dumps(told))
"""
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


def look(
    program: str, request: Mapping[str, Any], *, elsewhere: bool = False, **variables: str
) -> tuple[dict[str, Any], str]:
    """Run `main` of a module of the kit with a request.

    Args:
        program: the module; its `main` gets the request and returns what it saw.
        request: what it is told, as JSON.
        elsewhere: on what looks like another machine: other variables, another folder, another seed of hashes.
        variables: further ones of its environment.

    Returns:
        What it saw, empty if it did not come to its end, and all that was printed.

    Raises:
        subprocess.TimeoutExpired: the plugin did not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        ended = subprocess.run(
            [sys.executable, "-c", _RUN, program, json.dumps(request), str(answer)],
            cwd=folder if elsewhere else None,
            env={**_environ(elsewhere=elsewhere), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            text=True,
            errors="replace",
            check=False,
        )
        return (json.loads(answer.read_text()) if answer.exists() else {}), ended.stdout


def _environ(*, elsewhere: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    own = {"PYTHONPATH": path, "PYTHONHASHSEED": "7" if elsewhere else "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **(_ELSEWHERE if elsewhere else {}), **own}
