"""One engine in a container: how it is started, what its end means, and that nothing of it stays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayllm.engines import Command
from rayllm.errors import DeploymentError, RayllmError
from rayllm.serving.containers.command import OWNER_LABEL, run_command
from rayllm.serving.containers.mounts import mounts_of
from rayllm.serving.containers.runtime import Runtime
from rayllm.serving.engine.log_tail import error_of
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.processes.supervised import marked

_REFUSED = {
    125: "the container could not be started",
    126: "the image's interpreter can't be run",
    127: "the image has no python3",
}
"""By exit status, what podman and docker alike mean by it (`man podman-run`, "Exit Status")."""
_SIGNALLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Made by `contain`; started as any engine's process, by its `argv` and `env`."""

    runtime: Runtime
    name: str
    argv: Sequence[str]
    env: Mapping[str, str]

    def status(self, status: int | None) -> int | None:
        """An exit status as of a process: a shell's way to tell of a signal becomes negative."""
        return _SIGNALLED - status if status is not None and status > _SIGNALLED else status

    def refused(self, status: int | None, lines: Sequence[str]) -> DeploymentError | None:
        """Why the engine never ran, where that is so; `lines` are what was written last."""
        if status not in _REFUSED:
            return None
        said = "\n".join(lines)
        cure = "the cause is its own; try it on the node by hand"
        if "gpu" in said.lower():
            cure = (
                "set up NVIDIA's container toolkit on the node: "
                "`nvidia-ctk runtime configure` for docker, `nvidia-ctk cdi generate` for podman"
            )
        elif status != min(_REFUSED):
            cure = "take an image that holds the engine and has python3 in its PATH"
        cause = error_of(list(lines)) or said
        message = f"{self.runtime.kind}: {_REFUSED[status]}"
        return DeploymentError(message, cause=cause or None, cure=cure, topic="image")

    def remove(self) -> None:
        """End and remove it, if it is still there: it is not its client's child, so that it may outlive that.

        Raises:
            RayllmError: it can't be removed.
        """
        _remove(self.runtime, self.name)


def contain(
    runtime: Runtime,
    image: str,
    command: Command,
    *,
    marker: str,
    folder: Path,
    gpu_ids: Sequence[str],
    memory: int | None,
) -> Container:
    """An engine's command, to be run in a container.

    Args:
        runtime: what runs it.
        image: what it runs in.
        command: the engine's.
        marker: whose it is: the application's name, a colon and the replica's id.
        folder: the model's.
        gpu_ids: Ray's ids of its GPUs.
        memory: bytes that it may take, if bounded.
    """
    app, _, replica = marker.rpartition(":")
    own = {"PYTHONUNBUFFERED": "1", **command.env}
    name = f"{_prefix(app)}{replica}"
    argv = run_command(
        command.argv,
        kind=runtime.kind,
        program=runtime.program,
        image=image,
        name=name,
        owner=_owner(app),
        gpu_ids=gpu_ids,
        mounts=mounts_of(command.argv, folder),
        env=sorted(own),
        memory=memory,
    )
    return Container(runtime=runtime, name=name, argv=argv, env=clean_environ() | own)


def remove_orphans(runtime: Runtime, app: str) -> list[str]:
    """Remove an application's containers on this node whose replicas were killed; returns their names.

    A container's client is there before it and stays as long; the client has its replica's marker.

    Raises:
        RayllmError: one can't be removed.
    """
    listed = runtime.ask("ps", "--all", "--filter", f"label={OWNER_LABEL}={_owner(app)}", "--format", "{{.Names}}")
    if listed.returncode:
        raise RayllmError(f"{runtime.kind} can't list its containers", cause=listed.stdout.strip(), topic="image")
    orphans = [
        name
        for name in listed.stdout.split()
        if name.startswith(_prefix(app)) and not marked(f"{app}:{name.removeprefix(_prefix(app))}")
    ]
    for name in orphans:
        _remove(runtime, name)
    return orphans


def _owner(app: str) -> str:
    """Whose containers: another user's of the same daemon are not ours to judge, since their processes are hidden."""
    return f"{os.getuid()}.{app}"


def _prefix(app: str) -> str:
    return f"rayllm-{_owner(app)}."


def _remove(runtime: Runtime, name: str) -> None:
    done = runtime.ask("rm", "--force", name)
    said = done.stdout.strip()
    # Gone, or going because of --rm.
    if done.returncode and not any(word in said.lower() for word in ("no such container", "already in progress")):
        raise RayllmError(
            f"the container {name} can't be removed",
            cause=said or f"exit status {done.returncode}",
            cure=f"on the node: {runtime.kind} rm --force {name}",
            topic="image",
        )
