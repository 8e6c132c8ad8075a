"""The environments of the models' engines, made by RayLLM itself in the nodes' Python. Standard library."""

from __future__ import annotations

import json
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayllm.errors import RayllmError
from rayllm.paths import home
from rayllm_backend_cai.bootstrap.nodes import environ_with, mark
from rayllm_backend_cai.bootstrap.unpacking import unpacked

if TYPE_CHECKING:
    from rayllm_backend_cai.bootstrap.asked import Asked
    from rayllm_backend_cai.bootstrap.journal import Journal

MODULE = "rayllm.serving.prepare.on_node"
_KEPT_LINES = 15


def ensure_engines(asked: Asked, python: Path, journal: Journal) -> None:
    """Make all of them that are not there.

    This pod need not have the GPUs of those that will run the models, which share its disk.

    Args:
        asked: names the models.
        python: the nodes' interpreter.
        journal: is told what goes on, by model.

    Raises:
        RayllmError: one can't be made; with cause and cure. What is made stays.
    """
    if asked.prepared.is_file():
        return
    wanted = asked.wanted_engines()
    told = {"models": wanted["models"], "weights": False, "elsewhere": True}
    argv = [str(python), "-m", MODULE, json.dumps(told)]
    environ = {**environ_with(unpacked(wanted["code"])), "RAYLLM_HOME": str(home())}
    with subprocess.Popen(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        done, errors, stray = _hear(process, journal)
    if errors:
        raise _together(errors, len(wanted["models"]))
    if process.returncode or len(done) < len(wanted["models"]):
        raise RayllmError(
            f"preparing the models' engines broke off with status {process.returncode}",
            cause="\n".join(stray) or None,
            cure="rayllm up goes on where it ended",
        )
    mark(asked.prepared, {"environments": done})


def _hear(
    process: subprocess.Popen[str], journal: Journal
) -> tuple[dict[str, str], dict[str, dict[str, str]], Sequence[str]]:
    """By model, where its environment is and what went wrong; and what else was said at last."""
    done: dict[str, str] = {}
    errors: dict[str, dict[str, str]] = {}
    stray: deque[str] = deque(maxlen=_KEPT_LINES)
    for line in process.stdout or ():
        told = _object(line)
        if told is None:
            stray.append(line.rstrip())
            continue
        model = str(told["model"])
        step = f"environment {model}"
        if "error" in told:
            errors[model] = told["error"]
            journal.tell(step, f"failed: {told['error']['message']}")
        elif "done" in told:
            done[model] = str(told["done"])
            journal.tell(step, f"{told['done']} · {told['free']} free")
        else:
            journal.tell(step, str(told["detail"]))
    return done, errors, stray


def _object(line: str) -> dict[str, Any] | None:
    """A line of the module's own; None for what something else has printed."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "model" in told else None


def _together(errors: dict[str, dict[str, str]], models: int) -> RayllmError:
    """The one error, or what is common to several."""
    several = [f"{model}: {error['message']}\n{error['cause']}".rstrip() for model, error in errors.items()]
    first = next(iter(errors.values()))
    parts = {name: first[name] or None for name in ("cause", "cure", "topic")}
    if len(errors) == 1:
        return RayllmError(f"model {next(iter(errors))}: {first['message']}", **parts)
    return RayllmError(
        f"the environments of {len(errors)} of {models} models can't be made", **{**parts, "cause": "\n".join(several)}
    )
