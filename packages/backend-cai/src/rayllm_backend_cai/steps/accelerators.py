"""Which of the workspace's kinds of GPUs a node gets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rayllm import ClusterError
from rayllm_backend_cai.options import NodeOptions

if TYPE_CHECKING:
    from rayllm_backend_cai.api.records import NodeLabel

_RAYS = re.compile(r"\w+?[\s-]([A-Z0-9]+)")
"""As Ray reads its own name of a GPU from the driver's: `L40S` of `NVIDIA-L40S`, `A100` of `NVIDIA-A100-SXM4-80GB`."""


def label_of(name: str, node: NodeOptions, labels: Iterable[NodeLabel]) -> tuple[int, str]:
    """The platform's id of the GPUs' kind, 0 for its default, and what Ray calls them, empty where it is not known.

    Args:
        name: the node's or group's, for errors.
        node: what it has.
        labels: those of the workspace.

    Raises:
        ClusterError: there is no such kind, several fit, or a workload may not have so many.
    """
    if not node.gpus:
        return 0, ""
    known = [one for one in labels if one.availability]
    if node.accelerator is None:
        only = known[0] if len(known) == 1 else None
        if only:
            _require_enough(name, node, only)
        return 0, as_ray(only.label_value) if only else ""
    part = node.accelerator.lower()
    ways = (
        [one for one in known if one.label_value.lower() == part],
        [one for one in known if as_ray(one.label_value).lower() == part],  # `L4` is no part of `L40S` to a person
        [one for one in known if part in one.label_value.lower()],
    )
    fits = next(filter(None, ways), [])
    if len(fits) != 1:
        what = "several kinds of GPUs" if fits else "no kind of GPUs"
        there = ", ".join(one.label_value for one in fits or known) or "none at all"
        raise ClusterError(
            f"{what} of this workspace fit accelerator {node.accelerator!r} of {name}",
            cause=f"there is: {there}",
            cure="write one of these names, or so much of it that it fits one",
            topic="cai-runtime",
        )
    _require_enough(name, node, fits[0])
    return fits[0].id, as_ray(fits[0].label_value)


def _require_enough(name: str, node: NodeOptions, label: NodeLabel) -> None:
    most = label.max_gpu_per_workload
    if most and node.gpus > most:
        raise ClusterError(
            f"{name} asks for {node.gpus} GPUs, and one workload may have {most} of {label.label_value}",
            cure=f"gpus: {most}, and more nodes (workers with a count), or another accelerator",
            topic="cai-runtime",
        )


def as_ray(value: str) -> str:
    """What Ray calls the GPUs of a label; empty where that does not tell."""
    found = _RAYS.match(value)
    return found[1] if found else ""
