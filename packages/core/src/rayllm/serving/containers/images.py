"""Having an image on this node."""

from __future__ import annotations

import subprocess
from collections import deque

from rayllm.errors import DeploymentError
from rayllm.serving.containers.runtime import Runtime
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.sources import FetchProgress

_KEPT_LINES = 10


def has_image(runtime: Runtime, image: str) -> bool:
    """Whether it is here already."""
    return not runtime.ask("image", "inspect", image).returncode


def ensure_image(runtime: Runtime, image: str, report: FetchProgress) -> None:
    """Pull an image that is not here. Blocks, for as long as some GB take.

    One that is here is not asked for again: a tag that has moved on does not change what serves.

    Args:
        runtime: who holds it.
        image: its name with registry and tag, as after `docker pull`.
        report: told what `pull` says.

    Raises:
        DeploymentError: it can't be had, with the program's own words.
    """
    if has_image(runtime, image):
        return
    report(f"pulling {image} with {runtime.kind}")
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        [runtime.program, "pull", image],
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if words := line.strip():
                last.append(words)
                report(f"pulling {image}: {words}")
    if process.returncode:
        said = "\n".join(last)
        raise DeploymentError(
            f"{runtime.kind} can't pull {image}",
            cause=said or f"exit status {process.returncode}",
            cure=_cure(said.lower(), runtime, image),
            topic="image",
        )


def _cure(said: str, runtime: Runtime, image: str) -> str:
    """What to do about it; a registry says of a private image that there is none, or that it is denied."""
    if "no space left" in said:
        return f"free some room where {runtime.kind} keeps images: {runtime.kind} system df tells what is there"
    if "denied" in said or "unauthorized" in said or "authentication required" in said:
        return (
            f"correct the name, or for a private image run `{runtime.kind} login` on the node as the user Ray runs as"
        )
    if "manifest unknown" in said or "not found" in said or "name unknown" in said:
        return f"correct the name or the tag: the registry has no {image}"
    return f"let the node reach the registry (a proxy is {runtime.kind}'s own setting), or load the image there by hand"
