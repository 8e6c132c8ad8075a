"""From what the gateway was told and what the directory says to what HAProxy needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rayllm.engines import OPENAI_ENDPOINTS
from rayllm.errors import RayllmError
from rayllm.serving.directory.state import ReplicaReport, Snapshot, loaded
from rayllm.serving.haproxy.ingress import NOTHING_TOLD, Ingress
from rayllm.serving.haproxy.view import AdapterRoute, Alias, GatewayView, KeyRule, ModelRoute, Upstream
from rayllm.serving.keys import internal_key, ray_token
from rayllm.serving.secrets import place_of, secret
from rayllm.serving.spec import GatewaySettings, GatewaySpec, RouteSettings


def view_of(
    spec: GatewaySpec,
    settings: GatewaySettings,
    snapshot: Snapshot | None,
    network: str,
    *,
    run_dir: Path,
    keys: tuple[KeyRule, ...],
    ingress: Ingress = NOTHING_TOLD,
    tls: str | None = None,
) -> GatewayView:
    """What HAProxy has to serve.

    Args:
        spec: where it listens, unless the platform told otherwise.
        settings: the models.
        snapshot: who serves them; None while the directory has not answered yet.
        network: `where.network_id()` of the gateway.
        run_dir: HAProxy's folder.
        keys: who may ask.
        ingress: what a platform told that stands before it.
        tls: `certificate(settings)`.
    """
    host, port = address_of(spec, ingress)
    return GatewayView(
        deployment=spec.deployment,
        host=host,
        port=port,
        serve_port=spec.serve_port,
        routes=tuple(
            ModelRoute(
                model=model,
                key=internal_key(spec.deployment, model),
                upstreams=_upstreams(model, snapshot, network),
                adapters=tuple(_adapters(model, how, snapshot, network)),
                **_routing(how, settings),
            )
            for model, how in settings.models.items()
        ),
        run_dir=run_dir,
        aliases=tuple(Alias(name, tuple(to.items())) for name, to in settings.aliases.items()),
        keys=keys,
        admin_guarded=ray_token() is not None,
        keys_required=settings.keys_required,
        max_body=settings.max_body,
        ingress=ingress,
        tls=tls,
    )


def address_of(spec: GatewaySpec, ingress: Ingress) -> tuple[str, int]:
    """Host and port where it listens: the platform's word counts."""
    return ingress.listen or (spec.host, spec.port)


def certificate(settings: GatewaySettings) -> str | None:
    """Certificate, chain and key of the gateway as PEM; None where it speaks plain HTTP.

    Raises:
        RayllmError: this node lacks the secret.
    """
    if settings.tls is None:
        return None
    if found := secret(settings.tls):
        return f"{found}\n"
    raise RayllmError(
        f"the gateway's certificate, the secret {settings.tls}, is not on this node",
        cure=f"lay it there, readable by the user that runs Ray alone: {place_of(settings.tls)}",
        topic="gateway",
    )


def _routing(how: RouteSettings, settings: GatewaySettings) -> dict[str, Any]:
    told = asdict(how)
    del told["adapters"]
    some = told.pop("adapter_endpoints")
    told["adapter_endpoints"] = None if some is None else tuple(some)
    further = settings.endpoints.get(told.pop("engine"), ())
    return {**told, "endpoints": tuple(sorted(OPENAI_ENDPOINTS.union(further)))}


def _adapters(model: str, how: RouteSettings, snapshot: Snapshot | None, network: str) -> Iterator[AdapterRoute]:
    """A model's adapters, each with those who have it where that is not everybody."""
    ways = [(way.server, loaded(replica)) for replica in _ready(model, snapshot) if (way := _way(replica, network))]
    for name, called in how.adapters.items():
        holders = tuple(server for server, has in ways if name in has)
        yield AdapterRoute(name, called, None if len(holders) == len(ways) else holders)


def _upstreams(model: str, snapshot: Snapshot | None, network: str) -> tuple[Upstream, ...]:
    ways = [_way(replica, network) for replica in _ready(model, snapshot)]
    return tuple(way for way in ways if way)


def _ready(model: str, snapshot: Snapshot | None) -> list[ReplicaReport]:
    replicas = snapshot["replicas"] if snapshot else []
    ready = [replica for replica in replicas if replica["model"] == model and replica["phase"] == "ready"]
    return sorted(ready, key=lambda replica: replica["replica"])


def _way(replica: ReplicaReport, network: str) -> Upstream | None:
    """Straight to an engine on our own loopback, to another through its guard; None leaves it to Serve's proxy."""
    name = replica["replica"]
    if replica["network"] == network:
        return Upstream(name, replica["host"], replica["port"])
    if guard := replica.get("guard"):
        return Upstream(name, *guard, guarded=True)
    return None
