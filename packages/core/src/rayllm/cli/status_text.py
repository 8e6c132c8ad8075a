"""A deployment, or one model of it, as a person reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rayllm.backends import Node
from rayllm.cli.node_text import node_lines
from rayllm.cli.output import Line, table_lines
from rayllm.deployment.adapter_status import describe as describe_adapter
from rayllm.deployment.fit import each_of
from rayllm.deployment.placement import ACCELERATOR
from rayllm.deployment.status import ModelStatus, ReplicaStatus, Status
from rayllm.deployment.wording import age, as_written, describe, describe_past

_STYLES = {"ready": "good", "failed": "bad", "unhealthy": "bad", "starting": "warning", "waiting": "warning"}
_RESOURCES = {"gpus": "GPU", "cpus": "CPU", "memory": "memory"}
_ID = 12
"""Letters of a node's id that are shown."""


def deployment_lines(found: Status, backend: str) -> Iterator[Line]:
    """A line for each model, then what is wrong."""
    alive = [node for node in found.nodes if node.state == "alive"]
    plural = "s" * (len(alive) != 1)
    yield f"{found.name} on {backend} · {found.gateway_url} · {len(alive)} node{plural}", "bold"
    rows = [
        (
            model.name,
            _engine(model),
            _plugins(model),
            f"{model.running}/{model.wanted}",
            _load(model.replicas),
            model.state,
        )
        for model in found.models.values()
    ]
    if rows:
        yield from table_lines(("MODEL", "ENGINE", "PLUGIN", "REPLICAS", "LOAD", "STATE"), rows)
    else:
        yield "  models: none deployed   → rayllm up", "bad"
    if any(node.platform for node in found.nodes):
        yield from node_lines(found.nodes)
    if found.gateway is None:
        yield "  gateway: not deployed   → rayllm up", "bad"
    parts = [*found.models.values(), *([found.gateway] if found.gateway else [])]
    for part in (part for part in parts if part.state != "ready"):
        yield f"  {part.name}: {describe(part)}", _STYLES.get(part.state)
        if part.failure:
            yield from _failure_lines(part.name, part.failure)
        elif part.state == "waiting":
            yield from _labelled({"cause": part.cause, "do": part.cure}, "    ")
    for model in found.models.values():
        yield from _adapter_problems(model)
        if model.past and model.state == "ready":
            yield f"  {model.name}: ready again; {describe_past(model.past)}", "warning"
            yield from _failure_lines(model.name, model.past)


def model_lines(part: ModelStatus, nodes: Sequence[Node]) -> Iterator[Line]:
    """Everything about one model."""
    now = time.time()
    yield f"{part.name} · {part.state} · {part.running} of {part.wanted} replicas run", _STYLES.get(part.state, "bold")
    yield from _labelled(_facts(part), "  ")
    if part.replicas:
        yield from table_lines(
            ("REPLICA", "NODE", "ENVIRONMENT", "LOAD", "PHASE", "SINCE", "DETAIL"),
            [_row(replica, nodes, now) for replica in part.replicas],
        )
    if part.adapters:
        rows = [(name, f"{one.loaded}/{one.replicas}", one.state, one.source) for name, one in part.adapters.items()]
        yield from table_lines(("ADAPTER", "REPLICAS", "STATE", "SOURCE"), rows)
        yield from _adapter_problems(part)
    if part.cause:
        yield from _labelled({"cause": part.cause, "do": part.cure}, "  ")
    failure = part.failure or part.past
    if failure:
        yield f"  {describe_past(failure)}", "warning"
        yield from _where_more(part.name, failure, "  ")


def _adapter_problems(part: ModelStatus) -> Iterator[Line]:
    """The adapters that not every replica has."""
    for name, one in part.adapters.items():
        if one.state != "loaded":
            yield f"  {part.name}: {describe_adapter(name, one)}", "bad" if one.state == "failed" else "warning"
            yield from _labelled({"cause": one.cause, "do": one.cure}, "    ")


def _facts(part: ModelStatus) -> dict[str, str]:
    """What was deployed, in the file's own words."""
    config = dict(part.config)
    needs = {name: config.pop(key) for key, name in _RESOURCES.items() if config.get(key)}
    options = config.pop("options", None) or {}
    replicas = config.pop("replicas", None)
    if isinstance(replicas, dict):
        replicas = f"{replicas['min']} to {replicas['max']}, {replicas['target_ongoing']:g} requests each"
    shown = {key: config[key] for key in ("engine", "version", "image", "source", "environment") if config.get(key)}
    facts: dict[str, Any] = {"endpoint": part.endpoint, **shown, "replicas": replicas}
    facts["options"] = ", ".join(f"{name}: {as_written(value)}" for name, value in options.items())
    if accelerator := config.pop("accelerator", None):
        needs[f"{ACCELERATOR}{accelerator}"] = 1
    facts["needs"] = each_of(needs, config.pop("nodes", 1))
    facts["code"] = ", ".join(f"{name} {version}" for name, version in part.versions.items())
    return {label: str(value) for label, value in facts.items() if value not in {None, ""}}


def _plugins(part: ModelStatus) -> str:
    """The distributions whose code a model has beside core's, with their versions."""
    return ", ".join(f"{name} {version}" for name, version in part.versions.items() if name != "rayllm-core") or "-"


def _engine(part: ModelStatus) -> str:
    """The engine with what its replicas tell of it: one version and device, but for the moments of an update."""
    told = {f"{replica.version} {replica.device}".strip(): None for replica in part.replicas}
    return " ".join(filter(None, [part.engine, ", ".join(filter(None, told))]))


def _load(replicas: Sequence[ReplicaStatus]) -> str:
    """Requests in the engines: those being computed, and those that wait in a queue."""
    told = [(one.computing, one.queued) for one in replicas if one.computing is not None and one.queued is not None]
    if not told:
        return "-"
    computing, queued = (sum(numbers) for numbers in zip(*told, strict=True))
    return f"{computing:g} + {queued:g} queued" if queued else f"{computing:g}"


def _row(replica: ReplicaStatus, nodes: Sequence[Node], now: float) -> tuple[str, ...]:
    address = next((node.address for node in nodes if node.id == replica.node), "")
    node = f"{replica.node[:_ID]} {address}".rstrip() + (f" +{len(replica.ranks)}" if replica.ranks else "")
    what = (replica.environment or "-", _load([replica]))
    return replica.replica, node, *what, replica.phase, age(now - replica.since), replica.detail


def _failure_lines(name: str, failure: dict[str, Any]) -> Iterator[Line]:
    yield from _labelled({"cause": failure["cause"], "do": failure["cure"]}, "    ")
    yield from _where_more(name, failure, "    ")


def _where_more(name: str, failure: dict[str, Any], indent: str) -> Iterator[Line]:
    topic = failure.get("topic")  # none from a directory of an older RayLLM
    more = f"rayllm explain {topic}" if topic else ""
    log = f"rayllm logs {name} --last-start" if failure["log"] else ""
    yield from _labelled({"log": log, "more": more}, indent)


def _labelled(facts: dict[str, str], indent: str) -> Iterator[Line]:
    """A label and its text, of as many lines as it has."""
    width = max(7, *(len(label) for label in facts))
    for label, text in facts.items():
        if text:
            yield f"{indent}{label:<{width}} " + text.replace("\n", "\n" + " " * (len(indent) + width + 1)), None
