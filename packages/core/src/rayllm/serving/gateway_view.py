"""From what the gateway was told and what the directory says to what HAProxy needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rayllm.serving.directory.state import Snapshot
from rayllm.serving.haproxy.view import Alias, GatewayView, KeyRule, ModelRoute, Upstream
from rayllm.serving.keys import internal_key, ray_token
from rayllm.serving.spec import GatewaySettings, GatewaySpec


def view_of(
    spec: GatewaySpec,
    settings: GatewaySettings,
    snapshot: Snapshot | None,
    network: str,
    *,
    run_dir: Path,
    keys: tuple[KeyRule, ...],
) -> GatewayView:
    """What HAProxy has to serve.

    Args:
        spec: where it listens.
        settings: the models.
        snapshot: who serves them; None while the directory has not answered yet.
        network: `where.network_id()` of the gateway.
        run_dir: HAProxy's folder.
        keys: who may ask.
    """
    return GatewayView(
        deployment=spec.deployment,
        host=spec.host,
        port=spec.port,
        serve_port=spec.serve_port,
        routes=tuple(
            ModelRoute(
                model=model,
                key=internal_key(spec.deployment, model),
                upstreams=_upstreams(model, snapshot, network),
                **asdict(how),
            )
            for model, how in settings.models.items()
        ),
        run_dir=run_dir,
        aliases=tuple(Alias(name, tuple(to.items())) for name, to in settings.aliases.items()),
        keys=keys,
        admin_guarded=ray_token() is not None,
        keys_required=settings.keys_required,
        max_body=settings.max_body,
    )


def _upstreams(model: str, snapshot: Snapshot | None, network: str) -> tuple[Upstream, ...]:
    # A replica whose loopback is not ours is reached through Serve's proxy, which guards it with the internal key.
    replicas = snapshot["replicas"] if snapshot else []
    return tuple(
        Upstream(replica=replica["replica"], host=replica["host"], port=replica["port"])
        for replica in sorted(replicas, key=lambda replica: replica["replica"])
        if replica["model"] == model and replica["phase"] == "ready" and replica["network"] == network
    )
