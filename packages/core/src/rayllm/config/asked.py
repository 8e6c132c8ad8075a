"""What a model's block asks of its nodes, read before it is known to be valid: a wrong type counts as left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kind_of(model: Mapping[str, Any]) -> str:
    """The kind of device that a model's block asks for."""
    return "cuda" if _resource(model, "gpus") else "cpu"


def nodes_of(model: Mapping[str, Any]) -> int:
    """How many nodes a replica spans."""
    nodes = _resource(model, "nodes")
    return nodes if isinstance(nodes, int) else 1


def _resource(model: Mapping[str, Any], name: str) -> Any:
    resources = model.get("resources")
    return resources.get(name) if isinstance(resources, dict) else None
