"""What the platform has no room for, told with what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from rayllm.errors import ClusterError
from rayllm_backend_cai.api import QuotaError
from rayllm_backend_cai.api.records import Job, NewApplication


def no_room(kind: str, asked: Sequence[NewApplication | Job], error: QuotaError, *, cure: str) -> ClusterError:
    """The error for all that was refused at once.

    Args:
        kind: what they are: `application`.
        asked: what was refused, one at least.
        error: the platform's answer to one of them.
        cure: what to do; that the next `up` goes on is added.
    """
    told = ", ".join(f"{one.name} ({_amounts(one)})" for one in asked)
    return ClusterError(
        f"there is no room for the {kind}{'s' * (len(asked) > 1)} {told}",
        cause=error.said or error.message,
        cure=f"{cure}; what was made stays, and rayllm up goes on from there",
        topic="cai-quota",
    )


def _amounts(one: NewApplication | Job) -> str:
    gpus = f", {one.nvidia_gpu} GPU{'s' * (one.nvidia_gpu != 1)}" if one.nvidia_gpu else ""
    return f"{one.cpu:g} CPU{'s' * (one.cpu != 1)}, {one.memory:g} GB{gpus}"
