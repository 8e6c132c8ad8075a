"""What `up` would change: the file against what the cluster reports. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rayllm.deployment.serve_config import Json
from rayllm.serving.spec import GATEWAY_APP

Kind = Literal["add", "change", "remove", "keep"]
_IGNORED = frozenset({"attempt"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that differs."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one application."""

    kind: Kind
    name: str
    """A model's name, or `gateway`."""
    fields: tuple[FieldChange, ...] = ()
    effect: str = ""
    """What it does to what runs now."""
    summary: str = ""
    """What it is."""

    def to_json(self) -> Json:
        """As `plan --json` prints it."""
        return asdict(self)


def plan(wanted: Mapping[str, Json], deployed: Mapping[str, Json]) -> list[Change]:
    """Compare two sets of application configs, both by model name."""
    changes = []
    for name, app in wanted.items():
        before = deployed.get(name)
        if before is None:
            changes.append(Change("add", _shown(name), summary=_summary(name, app)))
            continue
        fields = tuple(_differences(_facts(before), _facts(app)))
        if fields:
            changes.append(Change("change", _shown(name), fields, _effect(name, before, fields), _summary(name, app)))
        else:
            changes.append(Change("keep", _shown(name), summary=_summary(name, app)))
    removed = [Change("remove", _shown(name), effect="stops it") for name in deployed if name not in wanted]
    return changes + removed


def has_changes(changes: list[Change]) -> bool:
    """False when the cluster is what the file says."""
    return any(change.kind != "keep" for change in changes)


def _shown(name: str) -> str:
    return "gateway" if name == GATEWAY_APP else name


def _summary(name: str, app: Json) -> str:
    """One line: engine, weights, replicas, what each needs; the gateway's address."""
    args = app["args"]
    if name == GATEWAY_APP:
        return f"http://{args['host']}:{args['port']}"
    weights = args["source"].rstrip("/").rpartition("/")[2] or args["source"]
    needs = [f"{args['gpus']} GPU"] if args["gpus"] else []
    needs += [f"{args['cpus']:g} CPU"] + ([f"{args['memory'] / 2**30:g} GiB"] if args["memory"] else [])
    return " · ".join([args["engine"], weights, _replicas(app["deployments"][0]), f"needs {', '.join(needs)}"])


def _replicas(options: Json) -> str:
    """`1 replica`, `2 replicas`, `0 to 4 replicas`."""
    if scaling := options.get("autoscaling_config"):
        return f"{scaling['min_replicas']} to {scaling['max_replicas']} replicas"
    count = options["num_replicas"]
    return f"{count} replica{'' if count == 1 else 's'}"


def _facts(app: Json) -> dict[str, Any]:
    """Everything that a person can change, flat, by the name it has in the file."""
    facts = {name: value for name, value in app["args"].items() if name not in _IGNORED}
    options = facts.pop("options", {})
    override = app["deployments"][0]
    facts |= {f"options.{name}": value for name, value in options.items()}
    facts["code"] = app["runtime_env"]["py_modules"][0]
    scaling = override.get("autoscaling_config")
    facts["replicas"] = (
        {key: scaling[f"{key}_replicas"] for key in ("min", "max")}
        | {"target_ongoing": scaling["target_ongoing_requests"]}
        if scaling
        else override["num_replicas"]
    )
    facts["models"] = (override.get("user_config") or {}).get("models")
    return facts


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[FieldChange]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield FieldChange(name, before.get(name), after.get(name))


def _effect(name: str, before: Json, fields: tuple[FieldChange, ...]) -> str:
    changed = {change.field for change in fields}
    if name == GATEWAY_APP:
        return "" if changed == {"models"} else "restarts the gateway"
    if changed == {"replicas"}:
        return "no restart"
    count = before["deployments"][0].get("num_replicas")
    return "restarts its replica" if count == 1 else "restarts its replicas, a few at a time"
