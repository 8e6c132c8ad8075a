"""What `up` would change: the file against what the cluster reports. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rayllm.deployment.memory import MemoryEstimate
from rayllm.deployment.serve_config import Json
from rayllm.serving.spec import GATEWAY_APP, RouteSettings

Kind = Literal["add", "change", "remove", "keep"]
_DEFAULTS = asdict(RouteSettings())
_IGNORED = frozenset({"attempt"})
"""Told in words: it is no key of the file."""
_DERIVED = frozenset({"endpoints", "engine", "code", "adapters", "adapter_endpoints"})
"""Of the gateway's settings: what follows from a model's engine, code and adapters, and is told there."""
ADAPTER = "adapters."
"""Before an adapter's name, in a field that tells where it is."""
VERSION = "code."
"""Before a distribution's name, in a field that tells its version."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that differs."""

    field: str
    """Its key, as in the file: `options.max_model_len`; `code` is RayLLM's or a plugin's own, and `code.DISTRIBUTION`
    its version."""
    before: Any
    """What runs; null where it is not set."""
    after: Any
    """What the file says; null where it is not set."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one application."""

    kind: Kind
    """`add`, `change`, `remove` or `keep`."""
    name: str
    """A model's name, or `gateway`."""
    fields: tuple[FieldChange, ...] = ()
    """For `change`: what differs; nothing where a failed model is tried again."""
    effect: str = ""
    """What it does to what runs now: `restarts its replica`, `restarts its replicas, a few at a time`, `restarts the
    gateway`, `no restart`, `tries again what failed`, `stops it`, or empty."""
    summary: str = ""
    """Engine and weights, or the endpoint."""
    added: dict[str, str] = field(default_factory=dict)
    """Adapters that came by command, and where each is: the file does not name them, and `up` keeps them."""

    def to_json(self) -> Json:
        """As `plan --json` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `up` would do."""

    name: str
    """The deployment's."""
    changes: list[Change]
    """One for each model and the gateway, those that stay as they are included."""
    misfits: list[str]
    """What no node has room for, in words with the numbers, and models that can't be split as asked; `up` refuses it,
    room alone not where the backend adds nodes."""
    memory: list[MemoryEstimate] = field(default_factory=list)
    """What each model needs, of those whose engine tells."""
    unsure: str = ""
    """Why it can't be told what runs now; empty where it can."""

    @property
    def has_changes(self) -> bool:
        """True if `up` would change something."""
        return has_changes(self.changes)

    @property
    def stops(self) -> list[str]:
        """Names of what `up` would restart or stop."""
        return [change.name for change in self.changes if change.effect.startswith(("restarts", "stops"))]

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
        told: Json = {"summary": _summary(name, app), "added": _added(app)}
        if fields:
            changes.append(Change("change", _shown(name), fields, _effect(name, before, fields), **told))
        elif _args(before).get("attempt", 0) != _args(app).get("attempt", 0):
            changes.append(Change("change", _shown(name), effect="tries again what failed", **told))
        else:
            changes.append(Change("keep", _shown(name), **told))
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
        scheme = "https" if (_override(app).get("user_config") or {}).get("tls") else "http"
        return f"{scheme}://{args['host']}:{args['port']}"
    weights = args["source"].rstrip("/").rpartition("/")[2] or args["source"]
    engine = " ".join(filter(None, [args["engine"], args.get("version")]))
    engine += f" in {args['image']}" if args.get("image") else ""
    return " · ".join([engine, weights, _replicas(app["deployments"][0]), f"needs {_needs(args)}"])


def _needs(args: Json) -> str:
    """`8 GPU (H100), 4 CPU, 64 GiB`, with `2 nodes × ` before it where a replica spans them."""
    needs = [f"{args['gpus']} GPU" + (f" ({args['accelerator']})" if args["accelerator"] else "")] * bool(args["gpus"])
    needs += [f"{args['cpus']:g} CPU"] + ([f"{args['memory'] / 2**30:g} GiB"] if args["memory"] else [])
    return (f"{args['nodes']} nodes × " if args["nodes"] > 1 else "") + ", ".join(needs)


def _replicas(options: Json) -> str:
    """`1 replica`, `2 replicas`, `0 to 4 replicas`."""
    if scaling := options.get("autoscaling_config"):
        return f"{scaling['min_replicas']} to {scaling['max_replicas']} replicas"
    count = options["num_replicas"]
    return f"{count} replica{'' if count == 1 else 's'}"


def _facts(app: Json) -> dict[str, Any]:
    """Everything that a person can change, flat, by the name it has in the file.

    What Serve reports need not be of our making: whoever deployed it may have left anything out.
    """
    facts = {name: value for name, value in _args(app).items() if name not in _IGNORED}
    options = facts.pop("options", {})
    versions = facts.pop("versions", None) or {}
    override = _override(app)
    facts |= {f"options.{name}": value for name, value in options.items()}
    facts |= {f"{VERSION}{distribution}": version for distribution, version in versions.items()}
    facts["code"] = next(iter((app.get("runtime_env") or {}).get("py_modules") or ()), None)
    facts["replicas"] = scaling_of(app)
    told = override.get("user_config") or {}
    facts |= {f"{ADAPTER}{adapter}": source for adapter, source in (told.get("adapters") or {}).items()}
    settings = _without(_DERIVED | {"added"}, told)
    facts |= {name: sorted(value) if name == "models" else value for name, value in settings.items()}
    for model, how in (settings.get("models") or {}).items():
        routing = _without(_DERIVED, how)
        facts |= {f"{model}.routing.{name}": value for name, value in routing.items() if value != _DEFAULTS.get(name)}
    return facts


def _added(app: Json) -> dict[str, str]:
    """The adapters that the file does not name."""
    told = _override(app).get("user_config") or {}
    return {name: told["adapters"][name] for name in told.get("added") or ()}


def _without(names: frozenset[str], settings: Json) -> Json:
    return {name: value for name, value in settings.items() if name not in names}


def _args(app: Json) -> Json:
    return app.get("args") or {}


def _override(app: Json) -> Json:
    return next(iter(app.get("deployments") or ()), {})


def scaling_of(app: Json) -> Any:
    """An application's number of replicas, or its range as the file writes it."""
    override = _override(app)
    if scaling := override.get("autoscaling_config"):
        bounds = {key: scaling.get(f"{key}_replicas") for key in ("min", "max")}
        return bounds | {"target_ongoing": scaling.get("target_ongoing_requests")}
    return override.get("num_replicas")


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[FieldChange]:
    for name in sorted(before.keys() | after.keys()):
        # A distribution that only one of both has comes or goes with what is told by another field.
        told = not name.startswith(VERSION) or (name in before and name in after)
        if told and before.get(name) != after.get(name):
            yield FieldChange(name, before.get(name), after.get(name))


def _effect(name: str, before: Json, fields: tuple[FieldChange, ...]) -> str:
    changed = {change.field for change in fields}
    if name == GATEWAY_APP:
        return "restarts the gateway" if changed & {"host", "port", "serve_port", "code"} else ""
    if all(name == "replicas" or name.startswith(ADAPTER) for name in changed):
        return "no restart"
    count = _override(before).get("num_replicas")
    return "restarts its replica" if count == 1 else "restarts its replicas, a few at a time"
