"""Everything that the gateway's HAProxy depends on, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from rayllm.engines import OPENAI_ENDPOINTS
from rayllm.serving.haproxy.ingress import NOTHING_TOLD, Ingress
from rayllm.serving.haproxy.text import check_host, check_key, check_name, check_path, check_port
from rayllm.serving.spec import Balance

DEFAULT_MAX_BODY = 64 << 20


@dataclass(frozen=True, slots=True)
class Upstream:
    """One replica's engine, as the gateway reaches it.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    replica: str
    host: str
    port: int
    guarded: bool = False
    """True where it is reached through the replica's guard, which wants the model's internal key."""

    def __post_init__(self) -> None:
        check_host(self.host)
        check_port(self.port)

    @property
    def server(self) -> str:
        """Its name in HAProxy's configuration and log."""
        return re.sub(r"[^A-Za-z0-9_.:-]", "-", self.replica)


@dataclass(frozen=True, slots=True)
class AdapterRoute:
    """A LoRA adapter of a model: a further name, which its engine itself knows, be it in other words.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    name: str
    called: str
    """What the engine takes for it as `model`."""
    holders: tuple[str, ...] | None = None
    """Servers of the model that have it; None where each of them can be asked."""

    def __post_init__(self) -> None:
        for part in (self.name, *self.called.split(":")):
            check_name(part, "adapter's name")


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """One model: the replicas that can answer, how they are chosen, and the key that opens the ways to them.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    model: str
    key: str
    upstreams: tuple[Upstream, ...] = ()
    balance: Balance = "least_outstanding"
    max_ongoing: int = 256
    """Requests in flight at each replica; more wait in the gateway."""
    max_queue: int = 1024
    """Requests that may wait; more get 429."""
    fallback: str | None = None
    """The model that answers while no replica of this one can."""
    endpoints: tuple[str, ...] = tuple(sorted(OPENAI_ENDPOINTS))
    """Paths that clients may use, as in `Engine.endpoints`."""
    adapters: tuple[AdapterRoute, ...] = ()
    adapter_endpoints: tuple[str, ...] | None = None
    """Those of the paths that answer by an adapter; None for all."""

    def __post_init__(self) -> None:
        check_name(self.model, "model name")
        check_key(self.key, f"model {self.model!r}")
        for path in (*self.endpoints, *(self.adapter_endpoints or ())):
            check_path(path)


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name that clients may use: it stands for one model, or for several by weight.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    name: str
    targets: tuple[tuple[str, int], ...]
    """Models and their weights."""

    def __post_init__(self) -> None:
        check_name(self.name, "model name")
        if not self.targets or sum(weight for _, weight in self.targets) <= 0:
            raise ValueError(f"the alias {self.name!r} stands for nothing")


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What one API key may do. Limits that are None don't hold."""

    id: str
    """Names it in logs and metrics; letters, digits, `.`, `_`, `-`."""
    digests: tuple[str, ...]
    """SHA-256 of the key in upper-case hexadecimal digits."""
    retiring: tuple[tuple[str, int], ...] = ()
    """Digests of keys that were rotated out, each with the Unix time in seconds from which it is refused."""
    names: tuple[str, ...] | None = None
    """Models and aliases it may use; None for all."""
    expires: int | None = None
    """Unix time in seconds from which it is refused."""
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_minute: int | None = None
    """This and the next are held by whoever counts tokens; HAProxy learns `spent_until`."""
    tokens_per_day: int | None = None
    spent_until: int | None = None
    """Unix time in seconds until which its tokens are used up."""

    def __post_init__(self) -> None:
        check_name(self.id, "key's name")


@dataclass(frozen=True, slots=True)
class GatewayView:
    """Everything the configuration depends on. The order of routes, aliases, keys and upstreams makes no difference.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    deployment: str
    host: str
    port: int
    serve_port: int
    """Port of Serve's own proxy on 127.0.0.1."""
    routes: tuple[ModelRoute, ...]
    run_dir: Path
    """Folder of this HAProxy alone; the admin API's socket `admin.sock` stands there."""
    aliases: tuple[Alias, ...] = ()
    keys: tuple[KeyRule, ...] = ()
    keys_required: bool = False
    """False where a request without a key, or with an unknown one, is answered too."""
    admin_guarded: bool = True
    """False where the cluster has no token, and the admin API asks for none."""
    max_body: int = DEFAULT_MAX_BODY
    """Bytes of the largest request body."""
    ingress: Ingress = NOTHING_TOLD
    """What a platform told that stands before it."""
    tls: str | None = field(default=None, repr=False)
    """The certificate, its chain and its private key, as PEM."""

    def __post_init__(self) -> None:
        check_name(self.deployment, "deployment name")
        check_host(self.host)
        check_port(self.port)
        check_port(self.serve_port)
