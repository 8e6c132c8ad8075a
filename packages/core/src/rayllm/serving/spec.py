"""What the operator's side tells a Serve application: plain JSON in Serve's config, so `plan` can read it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MODEL_DEPLOYMENT = "engine"
GATEWAY_DEPLOYMENT = "gateway"
GATEWAY_APP = "rayllm"
STARTS = 2
"""Failed starts after which Serve gives up; set in code, since Serve's config has no such key."""
INTERNAL_KEY_HEADER = "x-rayllm-internal-key"
Balance = Literal["least_outstanding", "prefix", "session"]
"""How the gateway chooses among a model's replicas."""


def app_name(deployment: str, model: str) -> str:
    """Name of a model's Serve application; `model` is `GATEWAY_APP` for the gateway."""
    return f"{deployment}--{model}"


def route_prefix(deployment: str, model: str) -> str:
    """Where Serve's own proxy serves a model."""
    return f"/{deployment}/models/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model, as its replicas need it. A change of any field restarts them."""

    deployment: str
    model: str
    engine: str
    source: str
    environment: str = "auto"
    version: str | None = None
    image: str | None = None
    packages: Mapping[str, Any] | None = None
    """The file's `packages:` block, if it has one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    gpus: int = 0
    cpus: float = 1
    memory: int | None = None
    """Bytes."""
    nodes: int = 1
    """Nodes of each replica; GPUs, CPUs and memory are on each of them."""
    accelerator: str | None = None
    """Ray's name of the GPUs' type."""
    drain_s: float = 600.0
    attempt: int = 0
    """Raised to make Serve try a failed application again."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By distribution, the version of the code that runs it: for `plan` and `status` to tell."""

    def to_args(self) -> dict[str, Any]:
        """The `args` of the Serve application."""
        return asdict(self)

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> ModelSpec:
        """Read back what `to_args` wrote; fields of another version are left out."""
        return cls(**{name: args[name] for name in cls.__dataclass_fields__ if name in args})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What changes at a model's replicas without a restart: the `user_config` of one that takes adapters."""

    adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters by the name that clients send, and where each is: as a model's source."""
    added: Sequence[str] = ()
    """Those of them that `rayllm adapters add` brought; the file knows nothing of them."""

    def to_user_config(self) -> dict[str, Any]:
        """As it stands in Serve's config."""
        return {"adapters": dict(sorted(self.adapters.items())), "added": sorted(self.added)}

    @classmethod
    def from_user_config(cls, told: Mapping[str, Any] | None) -> ModelSettings:
        """Read back what `to_user_config` wrote; nothing where there is none."""
        told = told or {}
        return cls(adapters=dict(told.get("adapters") or {}), added=tuple(told.get("added") or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySpec:
    """The gateway, as its supervisor needs it. The models are in `user_config`: they change without a restart."""

    deployment: str
    host: str
    port: int
    serve_port: int
    attempt: int = 0
    """Raised to make Serve try a failed application again."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """As of a `ModelSpec`."""

    def to_args(self) -> dict[str, Any]:
        """The `args` of the Serve application."""
        return asdict(self)

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> GatewaySpec:
        """Read back what `to_args` wrote."""
        return cls(**{name: args[name] for name in cls.__dataclass_fields__ if name in args})


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """How the gateway treats one model's requests; `config.schema.Routing` describes each."""

    balance: Balance = "least_outstanding"
    max_ongoing: int = 256
    max_queue: int = 1024
    fallback: str | None = None
    engine: str = ""
    """What answers; `GatewaySettings.endpoints` tells what clients may ask it."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Its adapters by the name that clients send, and what its engine calls each."""
    adapter_endpoints: Sequence[str] | None = None
    """`Adapters.endpoints` of its engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What changes at a running gateway without a restart: the `user_config` of its deployment."""

    models: Mapping[str, RouteSettings]
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Other names, each with the weights of the models it stands for."""
    endpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """`Engine.endpoints` of the engines in use, by the engine's name."""
    keys_required: bool = False
    max_body: int = 64 << 20
    """Bytes."""
    tls: str | None = None
    """Name of the secret with certificate and key."""
    code: Sequence[str] = ()
    """URIs of the code packages of all applications, which the gateway keeps in the cluster."""

    def to_user_config(self) -> dict[str, Any]:
        """As it stands in Serve's config."""
        return asdict(self)

    @classmethod
    def from_user_config(cls, told: Mapping[str, Any]) -> GatewaySettings:
        """Read back what `to_user_config` wrote."""
        known = {name: told[name] for name in cls.__dataclass_fields__ if name in told}
        return cls(**{**known, "models": {name: RouteSettings(**how) for name, how in told["models"].items()}})
