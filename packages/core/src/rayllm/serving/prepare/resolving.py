"""Environments that no lock names whole: what uv leaves out, what it would choose, which versions there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from rayllm.errors import RayllmError
from rayllm.sources import FetchProgress

if TYPE_CHECKING:
    from rayllm.serving.prepare.uv import Uv

_NEVER = "sys_platform == 'never'"


def leaving_out(folder: Path, without: Iterable[str]) -> list[str]:
    """Flags with which uv installs none of these distributions, whoever requires them; their file lies in `folder`."""
    lines = [f"{name} ; {_NEVER}\n" for name in without]
    if not lines:
        return []
    file = folder / "overrides.txt"
    file.write_text("".join(lines))
    return ["--overrides", str(file)]


def resolved(tool: Uv, python: str, requirements: Path, flags: Sequence[str], report: FetchProgress) -> tuple[str, ...]:
    """Every package that uv would install, as `name==version`.

    Args:
        tool: uv.
        python: the interpreter that they are for.
        requirements: what is asked for; the answer is written beside it.
        flags: of `leaving_out`.
        report: told what is going on.

    Raises:
        RayllmError: there is no such set; with the resolver's own words.
    """
    answer = requirements.with_name("resolved.txt")
    plain = ["--no-header", "--no-annotate", "--python", python, "--output-file", str(answer)]
    tool.run(["pip", "compile", *plain, *flags, str(requirements)], report)
    return tuple(line for line in answer.read_text().splitlines() if line and not line.startswith(("#", "-")))


def version_missing(error: RayllmError, tool: Uv, python: str, needed: str, folder: Path) -> RayllmError:
    """The error of a build at a version that a person asked for, with the newest there is.

    Args:
        error: what uv said.
        tool: uv.
        python: the interpreter of the environment.
        needed: the requirement of the engine's own package.
        folder: the environment's, for a draft.
    """
    if "No solution found" not in (error.cause or ""):
        return error
    name = Requirement(needed).name
    question = folder / "newest.in"
    question.write_text(f"{name}\n")
    try:
        found = resolved(tool, python, question, ["--no-deps"], lambda _: None)
    except RayllmError:
        return error  # the indexes know nothing of it, as `error` says
    newest = next((line.partition("==")[2] for line in found), "")
    cure = (
        f"the newest {name} for this Python that the node's indexes have is {newest}: name one that they have under "
        "`version:`, or leave `version:` out"
    )
    return RayllmError(f"{needed} can't be installed", cause=error.cause, cure=cure, topic="environment-version")
