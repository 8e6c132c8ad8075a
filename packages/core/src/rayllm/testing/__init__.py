"""What plugin authors test with: the conformance kit, and an engine that needs no model.

The kit's classes need pytest (`rayllm-core[testing]`) and are loaded on first use, so that the rest needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayllm.testing.backend_conformance import BackendConformance
    from rayllm.testing.backend_kit.platform import Platform
    from rayllm.testing.conformance import Conformance
    from rayllm.testing.engine_conformance import EngineConformance
    from rayllm.testing.source_conformance import SourceConformance

_HOMES = {
    "BackendConformance": "rayllm.testing.backend_conformance",
    "Conformance": "rayllm.testing.conformance",
    "EngineConformance": "rayllm.testing.engine_conformance",
    "Platform": "rayllm.testing.backend_kit.platform",
    "SourceConformance": "rayllm.testing.source_conformance",
}

__all__ = ["BackendConformance", "Conformance", "EngineConformance", "Platform", "SourceConformance"]


def __getattr__(name: str) -> Any:
    """Load a class of the kit from its module on first use (PEP 562)."""
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'rayllm.testing' has no attribute {name!r}")
