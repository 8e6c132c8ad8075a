"""The program on this node that runs container images."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

from rayllm.errors import DeploymentError
from rayllm.serving.prepare.clean_environ import clean_environ

_ANSWER_S = 60.0
_CURE = (
    "install podman, or let the user that Ray runs as reach docker's daemon (`docker ps` there tells); "
    "without either, leave `image:` out: RayLLM builds an environment"
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """One that answers."""

    kind: Literal["podman", "docker"]
    """Whose flags it takes."""
    program: str
    """Its path."""

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; the output has what it wrote to either stream.

        Raises:
            DeploymentError: it does not answer in time.
        """
        try:
            return subprocess.run(
                [self.program, *arguments],
                env=clean_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_ANSWER_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            cause = f"`{self.kind} {arguments[0]}` did not answer within {_ANSWER_S:.0f} s"
            cure = f"restart {self.kind} on this node"
            raise DeploymentError(f"{self.kind} does not answer", cause=cause, cure=cure, topic="image") from None


def find_runtime() -> Runtime:
    """Podman if it answers, else docker.

    Podman goes first because it needs no daemon, nor the right to ask one that is root's: what it runs has no more
    rights on the node than Ray has. A node with both may have a podman that was never set up, so it has to answer.

    Raises:
        DeploymentError: neither is here, or answers; with their own words.
    """
    said = []
    for runtime in (Runtime("podman", shutil.which("podman") or ""), Runtime("docker", shutil.which("docker") or "")):
        if not runtime.program:
            continue
        try:
            answer = runtime.ask("ps", "--quiet")
        except DeploymentError as silent:
            said.append(silent.cause or silent.message)
            continue
        if not answer.returncode:
            return runtime
        said.append(f"{runtime.program}: {answer.stdout.strip() or f'exit status {answer.returncode}'}")
    if said:
        what = "no program on this node can run the model's image"
        raise DeploymentError(what, cause="\n".join(said), cure=_CURE, topic="image")
    raise DeploymentError("the model has an image, and this node has no podman or docker", cure=_CURE, topic="image")
