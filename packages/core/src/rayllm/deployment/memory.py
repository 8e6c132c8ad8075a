"""The memory that each model of a file needs, against what its nodes have: part of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rayllm.config.engine_arguments import THIS_MACHINE
from rayllm.engines import Device, MemorySettings, Options
from rayllm.errors import RayllmError
from rayllm.memory.estimate import PartNeeds, part_needs
from rayllm.memory.fit import longest_at_once, room_of, tight, too_large
from rayllm.memory.heads import cannot_split
from rayllm.memory.model import Model, read_model
from rayllm.paths import home
from rayllm.plugin_faults import blaming
from rayllm.shape import Shape

if TYPE_CHECKING:
    from rayllm.cluster.hardware import Hardware
    from rayllm.config.schema import ModelConfig
    from rayllm.deployment.serve_config import Json
    from rayllm.deployment.session import Session

_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What one model needs, and whether it fits."""

    model: str
    """Its name."""
    unknown: str = ""
    """Why nothing can be said; empty where something can."""
    shape: str = ""
    """How a replica is split: `tensor parallel 2`."""
    part: PartNeeds | None = None
    """What each part needs; null where `unknown` tells why."""
    room: int | None = None
    """Bytes that each part may take; null where no node has reported its memory."""
    room_source: str = ""
    """What that is a part of, in words."""
    longest_at_once: float | None = None
    """How many requests of the longest kind the KV cache holds; null where that is not known."""
    was: int | None = None
    """Bytes that each part of what is deployed now needs, where that differs."""
    warning: str = ""
    """Why it may not start, and what would help; empty where it should."""
    refusal: str = ""
    """Why it can't start; `up` refuses it. Empty where it may."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What was reckoned with: `weights` (by type: elements and bytes in the files), `architecture` (the numbers of
    config.json) and `settings` (those of the engine's options)."""


def estimates(session: Session, nodes: Iterable[Hardware], deployed: Mapping[str, Json]) -> list[MemoryEstimate]:
    """One for each model whose engine tells what its options mean for memory.

    Args:
        session: the file.
        nodes: those that are alive; none where they are not known.
        deployed: the applications that run now, by model name.

    Raises:
        PluginError: an engine's or source's plugin fails.
    """
    known = list(nodes) or _this_machine(session)
    engines = session.plugins.engines
    models = {name: model for name, model in session.checked.config.models.items() if engines[model.engine].memory}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda name: _seen(session, models[name].source), models))
    return [_estimate(session, name, seen, known, deployed.get(name)) for name, seen in zip(models, found, strict=True)]


def _estimate(
    session: Session, name: str, seen: Model | str, nodes: list[Hardware], deployed: Json | None
) -> MemoryEstimate:
    if isinstance(seen, str):
        return MemoryEstimate(model=name, unknown=seen)
    wanted = session.checked.config.models[name]
    shape, settings = _asked(session, wanted, session.checked.engine_options[name])
    part, room = part_needs(seen, settings, shape), room_of(wanted.resources, shape, settings, nodes)
    split = cannot_split(seen.architecture, shape, pads=settings.pads_heads) if seen.architecture else ""
    large = too_large(part, room) if room and wanted.resources.check_memory else ""
    return MemoryEstimate(
        model=name,
        shape=str(shape),
        part=part,
        room=room.size if room else None,
        room_source=room.source if room else "",
        longest_at_once=longest_at_once(part, room),
        was=_was(session, seen, wanted, deployed, part),
        warning="" if split or large else tight(part, room),
        refusal=split or large,
        inputs=_inputs(seen, settings),
    )


def _asked(session: Session, wanted: ModelConfig, options: Options) -> tuple[Shape, MemorySettings]:
    """What the engine makes of these options."""
    engine = session.plugins.engines[wanted.engine]
    gpus = wanted.resources.gpus
    of_replica = gpus * wanted.resources.nodes
    with blaming(session.plugins, ("engine", engine.name), "can't tell what memory it needs", set()):
        shape = engine.shape(options, of_replica) if engine.shape else Shape()
        memory = int(wanted.resources.memory) if wanted.resources.memory else None
        settings = engine.memory(options, _device(session, gpus), memory) if engine.memory else MemorySettings()
    return shape, settings


def _was(session: Session, seen: Model, wanted: ModelConfig, deployed: Json | None, part: PartNeeds) -> int | None:
    """What the same weights need as they are deployed now; None where that is the same, or can't be told."""
    args = (deployed or {}).get("args") or {}
    if args.get("source") != wanted.source or args.get("engine") != wanted.engine:
        return None
    resources = {key: args[key] for key in ("gpus", "memory", "nodes") if args.get(key)}
    try:
        options = session.plugins.engines[wanted.engine].options.model_validate(args.get("options") or {})
        before = wanted.model_copy(update={"resources": wanted.resources.model_copy(update=resources)})
        shape, settings = _asked(session, before, options)
    except (ValidationError, RayllmError):
        return None  # another version's options
    total = part_needs(seen, settings, shape).total
    return None if total == part.total else total


def _seen(session: Session, source: str) -> Model | str:
    """The model's own numbers, or why they can't be seen from here; looked at once for each session."""
    if source not in session.seen:
        try:
            session.seen[source] = _look(session, source)
        except RayllmError as problem:
            session.seen[source] = problem.message + (f": {problem.cause}" if problem.cause else "")
        except OSError as problem:
            session.seen[source] = str(problem)
    return session.seen[source]


def _look(session: Session, source: str) -> Model | str:
    from rayllm.serving.weights.ensure import source_of

    found = source_of(source, session.plugins.sources)
    if found.look is None:
        return f"what {found.scheme}: names can't be seen from here"
    with (
        blaming(
            session.plugins, ("source", found.scheme), "can't look at the model", set(session.checked.secrets.values())
        ),
        found.look(source, home() / "models", session.checked.secrets) as files,
    ):
        return read_model(files)


def _device(session: Session, gpus: int) -> Device:
    """The kind of device; its features only where the nodes are this machine."""
    from rayllm.serving.prepare.devices import detect

    if gpus or THIS_MACHINE in session.checked.backend.capabilities:
        return detect(gpus)
    return Device(kind="cpu")


def _this_machine(session: Session) -> list[Hardware]:
    """What there will be once a cluster on this machine is up."""
    from rayllm.cluster.hardware import Hardware
    from rayllm.serving.weights.shape import memory_of_node

    return [Hardware(memory_of_node())] if THIS_MACHINE in session.checked.backend.capabilities else []


def _inputs(seen: Model, settings: MemorySettings) -> dict[str, Any]:
    told = asdict(seen.architecture) if seen.architecture else {}
    if "caching" in told:
        told["caching"] = [{"tokens": limit, "layers": count} for limit, count in told["caching"].items()]
    return {
        "weights": [asdict(one) for one in seen.weights],
        "architecture": told or None,
        "settings": asdict(settings),
    }
