"""What runs, as types: a deployment, its models and their replicas."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rayllm.backends import Node
from rayllm.deployment.serve_config import Json


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica, as it reports itself."""

    replica: str
    """Serve's id of the replica."""
    node: str
    """Ray's id of its node."""
    phase: str
    """`environment`, `weights`, `starting`, `ready` or `leaving`."""
    detail: str
    """How far the phase is; the engine's last line while it starts."""
    since: float
    """When the phase began, in seconds since 1970."""
    log: str
    """The engine's log, relative to Ray's log folder on that node."""
    version: str = ""
    """Version of the engine's own package; empty where it has none, or is not known yet."""
    environment: str = ""
    """Name of the environment that RayLLM built for the engine; else the path of its interpreter."""
    device: str = ""
    """`cpu` or `cuda`."""
    computing: float | None = None
    """Requests that the engine computes; null where it does not tell."""
    queued: float | None = None
    """Requests in the engine's queue; null where it does not tell."""
    ranks: list[str] = field(default_factory=list)
    """Ray's ids of its other nodes, where it spans several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterStatus:
    """One LoRA adapter of a model."""

    source: str
    """Where it is."""
    state: str
    """`loaded` (on every replica that serves), `loading` or `failed`."""
    loaded: int
    """Replicas that can answer by it; the endpoint sends its requests to these alone."""
    replicas: int
    """Replicas that serve the model."""
    added: bool = False
    """True if it came by `rayllm adapters add`, and the file did not name it."""
    message: str = ""
    """What failed on a replica; how far it is while it loads."""
    cause: str = ""
    """Why it failed, where that is known."""
    cure: str = ""
    """What to do about it. It is tried again four times a minute."""
    failed_at: float | None = None
    """When it failed last, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model, or the gateway."""

    name: str
    """The model's, or `gateway`."""
    state: str
    """`ready`, `starting`, `restarting`, `waiting` (nothing to run it on yet), `failed` or `unhealthy`."""
    engine: str
    """The engine's name; empty for the gateway."""
    running: int
    """Replicas that Serve counts as running."""
    wanted: int
    """Replicas that Serve wants."""
    message: str = ""
    """Serve's own words, when something is wrong; for programs and reports, not for reading."""
    replicas: list[ReplicaStatus] = field(default_factory=list)
    """Those that have reported."""
    failure: dict[str, Any] | None = None
    """The last failure, if the model has not been ready since: `message`, `cause`, `cure`, `topic` (for `rayllm
    explain`), `at` (seconds since 1970), `count` (in a row), `replica`, `node`, `log`
    (empty if it failed before its engine started)."""
    past: dict[str, Any] | None = None
    """The same of a model that is ready again, if it was within the last hour."""
    cause: str = ""
    """Why it is not ready, in one sentence with the engine's or Ray's own words; empty where it is."""
    cure: str = ""
    """What to do about that; empty where it is ready."""
    endpoint: str = ""
    """Where OpenAI clients go: their `base_url`, with `/v1`."""
    versions: dict[str, str] = field(default_factory=dict)
    """By distribution, the version of the code that was deployed: `rayllm-core` and the model's own plugins. Which
    packages an engine runs with is another matter: `rayllm env list`."""
    adapters: dict[str, AdapterStatus] = field(default_factory=dict)
    """Its LoRA adapters, by name."""
    config: dict[str, Any] = field(default_factory=dict)
    """What was deployed, by the names in the file: `source`, `options`, `replicas`, …"""

    def to_json(self) -> Json:
        """As `status MODEL --json` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus(Node):
    """One machine, as Ray reports it and as the platform does that started it."""

    group: str = ""
    """Which of the platform's groups of alike nodes it belongs to; empty for the head."""
    platform: str = ""
    """The platform's word for its state: `starting`, `running`, `stopped`, `failed`, …; empty where it says nothing."""
    cause: str = ""
    """What is wrong with it, or what the two disagree on; empty where all is well."""
    cure: str = ""
    """What to do about that."""


@dataclass(frozen=True, slots=True)
class Status:
    """A deployment."""

    name: str
    """The deployment's."""
    gateway_url: str
    """Where OpenAI clients go, without `/v1`."""
    dashboard_url: str
    """Ray's dashboard."""
    gateway: ModelStatus | None
    """The endpoint, told as a model is; null if it is not deployed."""
    models: dict[str, ModelStatus]
    """By name."""
    nodes: list[NodeStatus]
    """The cluster's machines. Where the platform tells of its own, those that are gone from both are not among them."""
    shown_headers: dict[str, str] = field(default_factory=dict)
    """What the platform's ingress wants to see with every request, by name, as it is written in a shell:
    `Bearer $KEY`."""

    def to_json(self) -> Json:
        """As `status --json` prints it."""
        return asdict(self)
