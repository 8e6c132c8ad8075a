"""RayLLM serves large language models with Ray Serve, on any cluster, with any engine.

A plugin author imports everything from here; names are loaded on first use so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rayllm.aio import AsyncRayLLM
    from rayllm.api import RayLLM
    from rayllm.backends import (
        Backend,
        Cluster,
        ClusterBackend,
        ClusterSpec,
        Node,
        PlatformNode,
        Preparation,
        Progress,
        Refusal,
    )
    from rayllm.causes import explained_by
    from rayllm.checks import Check, nvidia_driver
    from rayllm.deployment.adapters import Adapter
    from rayllm.deployment.chat import ChatPart
    from rayllm.deployment.keys import ApiKey, KeyUsage, NewKey
    from rayllm.deployment.plan import Change, FieldChange, Plan
    from rayllm.deployment.preparing import Prepared
    from rayllm.deployment.status import AdapterStatus, ModelStatus, NodeStatus, ReplicaStatus, Status
    from rayllm.engines import (
        Adapters,
        Command,
        Device,
        Engine,
        EngineArguments,
        Environment,
        Gauges,
        Launch,
        MemorySettings,
        Options,
    )
    from rayllm.errors import ClusterError, DeploymentError, InputError, PluginError, RayllmError
    from rayllm.events import Applied, CommandFailed, Event, ModelFailed, ModelReady, PlanMade, Removed, Scaled
    from rayllm.hookspecs import hookimpl
    from rayllm.shape import Shape
    from rayllm.sources import FetchProgress, ModelFiles, ModelSource

_HOMES = {
    "rayllm.aio": ("AsyncRayLLM",),
    "rayllm.api": ("RayLLM",),
    "rayllm.backends": (
        *("Backend", "Cluster", "ClusterBackend", "ClusterSpec", "Node", "PlatformNode", "Preparation", "Progress"),
        "Refusal",
    ),
    "rayllm.deployment.adapters": ("Adapter",),
    "rayllm.deployment.chat": ("ChatPart",),
    "rayllm.deployment.keys": ("ApiKey", "KeyUsage", "NewKey"),
    "rayllm.deployment.plan": ("Change", "FieldChange", "Plan"),
    "rayllm.deployment.preparing": ("Prepared",),
    "rayllm.deployment.status": ("AdapterStatus", "ModelStatus", "NodeStatus", "ReplicaStatus", "Status"),
    "rayllm.causes": ("explained_by",),
    "rayllm.checks": ("Check", "nvidia_driver"),
    "rayllm.engines": (
        *("Adapters", "Command", "Device", "Engine", "EngineArguments", "Environment", "Gauges", "Launch"),
        *("MemorySettings", "Options"),
    ),
    "rayllm.errors": ("ClusterError", "DeploymentError", "InputError", "PluginError", "RayllmError"),
    "rayllm.events": (
        *("Applied", "CommandFailed", "Event", "ModelFailed", "ModelReady", "PlanMade", "Removed", "Scaled"),
    ),
    "rayllm.hookspecs": ("hookimpl",),
    "rayllm.shape": ("Shape",),
    "rayllm.sources": ("FetchProgress", "ModelFiles", "ModelSource"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Adapter",
    "AdapterStatus",
    "Adapters",
    "ApiKey",
    "Applied",
    "AsyncRayLLM",
    "Backend",
    "Change",
    "ChatPart",
    "Check",
    "Cluster",
    "ClusterBackend",
    "ClusterError",
    "ClusterSpec",
    "Command",
    "CommandFailed",
    "DeploymentError",
    "Device",
    "Engine",
    "EngineArguments",
    "Environment",
    "Event",
    "FetchProgress",
    "FieldChange",
    "Gauges",
    "InputError",
    "KeyUsage",
    "Launch",
    "MemorySettings",
    "ModelFailed",
    "ModelFiles",
    "ModelReady",
    "ModelSource",
    "ModelStatus",
    "NewKey",
    "Node",
    "NodeStatus",
    "Options",
    "Plan",
    "PlanMade",
    "PlatformNode",
    "PluginError",
    "Preparation",
    "Prepared",
    "Progress",
    "RayLLM",
    "RayllmError",
    "Refusal",
    "Removed",
    "ReplicaStatus",
    "Scaled",
    "Shape",
    "Status",
    "__version__",
    "explained_by",
    "hookimpl",
    "nvidia_driver",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if home := _HOME_OF.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'rayllm' has no attribute {name!r}")
