"""What plugin authors test with: the conformance kit, and an engine that needs no model.

The kit's classes need pytest (`rayllm-core[testing]`) and are loaded on first use, so that the rest needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayllm.testing.conformance import Conformance

_HOMES = {"Conformance": "rayllm.testing.conformance"}

__all__ = ["Conformance"]


def __getattr__(name: str) -> Any:
    """Load a class of the kit from its module on first use (PEP 562)."""
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'rayllm.testing' has no attribute {name!r}")
