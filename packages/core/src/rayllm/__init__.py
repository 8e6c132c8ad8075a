"""RayLLM serves large language models with Ray Serve, on any cluster, with any engine.

A plugin author imports everything from here; names are loaded on first use so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.backends import Backend, Cluster, ClusterBackend, ClusterSpec, Node, Progress
    from rayllm.engines import Command, Device, Engine, Environment, Gauges, Launch, Options
    from rayllm.errors import ClusterError, DeploymentError, InputError, PluginError, RayllmError
    from rayllm.hookspecs import hookimpl
    from rayllm.sources import FetchProgress, ModelSource

_HOMES = {
    "rayllm.api": ("RayLLM",),
    "rayllm.backends": ("Backend", "Cluster", "ClusterBackend", "ClusterSpec", "Node", "Progress"),
    "rayllm.engines": ("Command", "Device", "Engine", "Environment", "Gauges", "Launch", "Options"),
    "rayllm.errors": ("ClusterError", "DeploymentError", "InputError", "PluginError", "RayllmError"),
    "rayllm.hookspecs": ("hookimpl",),
    "rayllm.sources": ("FetchProgress", "ModelSource"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Backend",
    "Cluster",
    "ClusterBackend",
    "ClusterError",
    "ClusterSpec",
    "Command",
    "DeploymentError",
    "Device",
    "Engine",
    "Environment",
    "FetchProgress",
    "Gauges",
    "InputError",
    "Launch",
    "ModelSource",
    "Node",
    "Options",
    "PluginError",
    "Progress",
    "RayLLM",
    "RayllmError",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if home := _HOME_OF.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'rayllm' has no attribute {name!r}")
