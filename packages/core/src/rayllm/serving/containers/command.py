"""From an engine's command to the one that runs it in a container. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

PYTHON = "python3"
"""The interpreter of an image, as its own PATH finds it."""
OWNER_LABEL = "rayllm.owner"


def run_command(
    command: Sequence[str],
    *,
    kind: Literal["podman", "docker"],
    program: str,
    image: str,
    name: str,
    owner: str,
    gpu_ids: Iterable[str],
    mounts: Iterable[Path],
    env: Iterable[str],
    memory: int | None,
) -> list[str]:
    """The command line that runs a container in the foreground: it ends when the container does, with its status.

    The image's own user runs the engine: images are made for it (a home with caches, a name that torch looks up), and
    since every mount is read-only it leaves no files of its own on the node.

    Args:
        command: the engine's.
        kind: whose flags.
        program: path of podman or docker.
        image: what is run.
        name: the container's.
        owner: the label by which it is found again.
        gpu_ids: numbers or UUIDs of the GPUs; inside they are the only ones, and count from 0.
        mounts: folders and files, read-only at the same paths.
        env: names of variables; their values come from this command's own environment, so that none is in an argv.
        memory: bytes that it may take, if bounded.
    """
    interpreter, *arguments = command
    # Engines listen on the node's loopback, where the replica asks them, and ranks of torch share tensors in /dev/shm:
    # a container's own has 64 MB, and how much an engine takes is not known before. SELinux lets a container with the
    # node's IPC read what is mounted, without new labels on the files.
    argv = [program, "run", "--rm", "--init", "--name", name, "--label", f"{OWNER_LABEL}={owner}"]
    argv += ["--network", "host", "--ipc", "host"]
    argv += _gpus(kind, list(gpu_ids))
    for place in mounts:
        argv += ["--mount", _comma_separated("type=bind", f"source={place}", f"target={place}", "readonly")]
    for variable in env:
        argv += ["--env", variable]
    if memory:
        argv += ["--memory", str(memory)]
    return [*argv, "--entrypoint", interpreter, image, *arguments]


def _gpus(kind: str, ids: Sequence[str]) -> list[str]:
    """Docker asks NVIDIA's container toolkit, podman reads the devices' description that it wrote (CDI)."""
    if not ids:
        return []
    if kind == "docker":
        # The value is a row of CSV: without quotes of its own, the second GPU would be another field.
        return ["--gpus", f'"device={",".join(ids)}"']
    return [word for gpu in ids for word in ("--device", f"nvidia.com/gpu={gpu}")]


def _comma_separated(*fields: str) -> str:
    """Both programs read a mount as CSV."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(fields)
    return row.getvalue()
