"""What a person may write under `cluster.options:` of the backend `local`."""

from __future__ import annotations

from pydantic import Field

from rayllm import Options


class LocalOptions(Options):
    """Options of the backend `local`."""

    nodes: int = Field(default=1, ge=1, le=16)
    """Ray nodes: the head, and simulated workers that share this machine with it."""
    cpus: int | None = Field(default=None, ge=1)
    """CPU cores that Ray may use, shared out evenly among the nodes; all cores of this machine if left out."""
    gpus: int | None = Field(default=None, ge=0)
    """GPUs that Ray may use, all on the head; those that Ray detects if left out."""
