"""What is to be done about a cluster's workers: which are missing, broken, too many, and how one goes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import group_of, precedence
from rayllm_backend_cai.shared import KeeperRecord, Leaving, Wanted, worker_name

STARTING_S = 900.0
"""Seconds that a start may take: platforms that add a machine for it need minutes."""
STOPPING_S = 180.0
"""Seconds that a stop may take before the application is deleted nevertheless."""
LEAVE_S = 660.0
"""Seconds that a worker's work is waited for. Serve moves its replicas where there is room; those without room are
stopped when their own time to finish (610 s for RayLLM's, unless told otherwise) is all that is left of this."""
_ALIVE = frozenset({"starting", "running", "unknown"})


@dataclass(frozen=True, slots=True)
class RayNode:
    """A node as Ray sees it: alive."""

    id: str
    state: Literal["idle", "busy", "draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that decisions are made from."""

    wanted: Wanted
    record: KeeperRecord
    workers: Sequence[Application]
    """The cluster's, as the platform lists them."""
    taken: Collection[str] = ()
    """Names and subdomains that a new application can't have."""
    nodes: Mapping[str, RayNode] | None = field(default_factory=dict)
    """Those that are alive, by the application's name; None: Ray does not tell."""
    more: Mapping[str, int] = field(default_factory=dict)
    """By range, how many more its waiting work needs."""
    idle: Collection[str] = ()
    """Names of workers of ranges that have had no work for long enough."""
    now: float
    """Seconds since 1970."""

    def staying(self, group: str) -> list[Application]:
        """Workers of a group that serve, or will."""
        return [one for one in _singles(self) if group_of(one) == group and one.status in _ALIVE]


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker that does not do its work any more, or never did."""

    worker: Application
    text: str
    lived_s: float
    """Seconds that it ran."""


@dataclass(frozen=True, slots=True)
class Make:
    """Make a worker."""

    group: str
    number: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Let Ray and Serve take the work away from a worker."""

    worker: Application
    node: str
    leaving: Leaving


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a worker's application."""

    worker: Application


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a worker's application, which has ended."""

    worker: Application


def ended(situation: Situation) -> Iterator[Ended]:
    """Workers that failed, were stopped by somebody, never came up, or have another's name."""
    kept = {one.id for one in _singles(situation)}
    for one in situation.workers:
        if one.id in situation.record.leaving:
            continue
        if one.id not in kept:
            yield Ended(one, "another application has the same name", 0)
        elif one.status == "failed":
            yield Ended(one, "failed", _lived(one, situation.now))
        elif one.status == "stopped":
            yield Ended(one, "was stopped", _lived(one, situation.now))
        elif one.status == "starting" and situation.now - _since(one, situation.now) > STARTING_S:
            yield Ended(one, f"did not start within {STARTING_S / 60:g} min", 0)


def surplus(situation: Situation) -> Iterator[tuple[Application, Leaving]]:
    """Workers that are too many, those without work first; where Ray does not tell which these are, none."""
    if situation.nodes is None:
        return
    until, now = situation.now + LEAVE_S, situation.now
    groups = {group_of(one): None for one in situation.workers} | dict.fromkeys(situation.wanted.groups)
    for group in groups:
        told = situation.wanted.groups.get(group)
        most, least = (told.max, told.min) if told else (0, 0)
        staying = sorted(situation.staying(group), key=lambda one: _worth(situation, one))
        for one in staying[: max(0, len(staying) - most)]:
            reason = f"{most} of {group} are wanted" if told else f"no group {group} is wanted"
            yield one, Leaving(name=one.name, reason=reason, since=now, until=until)
        idle = [one for one in staying[max(0, len(staying) - most) :] if one.name in situation.idle]
        for one in idle[: max(0, min(len(staying), most) - least)]:
            yield one, Leaving(name=one.name, reason="has no work", since=now, until=until, idle=True)


def steps(situation: Situation) -> Iterator[Drain | Stop | Delete]:
    """The next step of each worker that is to go: its work goes, Ray's node ends, it is stopped, then deleted."""
    for one in situation.workers:
        if leaving := situation.record.leaving.get(one.id):
            step = _step(situation, one, leaving)
            if step:
                yield step


def missing(situation: Situation) -> Iterator[Make]:
    """Workers to be made now, under the lowest numbers that are free."""
    for group, told in situation.wanted.groups.items():
        if held(situation, group):
            continue
        count = len(situation.staying(group))
        wanted = min(told.max, max(told.min, count + situation.more.get(group, 0)))
        number = 0
        for _ in range(wanted - count):
            number += 1
            while worker_name(situation.wanted.name, group, number) in situation.taken:
                number += 1
            yield Make(group, number)


def held(situation: Situation, group: str) -> bool:
    """Whether nothing is made in a group for a while."""
    holds = (situation.record.refused.get(group), situation.record.failing.get(group))
    return any(hold and situation.now < hold.again for hold in holds)


def unsettled(situation: Situation) -> bool:
    """Whether something is under way or due: the platform is asked more often then."""
    moving = any(one.status not in {"running", "unknown"} for one in situation.workers)
    return moving or bool(situation.record.leaving) or any(missing(situation)) or any(surplus(situation))


def _step(situation: Situation, one: Application, leaving: Leaving) -> Drain | Stop | Delete | None:
    in_time = situation.now < leaving.until
    if one.status in {"stopped", "failed"}:
        return Delete(one)
    if one.status == "stopping":
        return None if situation.now < leaving.until + STOPPING_S else Delete(one)
    if situation.nodes is None:
        return None if in_time else Stop(one)
    node = situation.nodes.get(one.name)
    if node is None or not in_time:
        return Stop(one)
    return None if node.state == "draining" else Drain(one, node.id, leaving)


def _singles(situation: Situation) -> list[Application]:
    """Those that do not go, one of each name."""
    best: dict[str, Application] = {}
    for one in sorted(situation.workers, key=precedence):
        if one.id not in situation.record.leaving:
            best.setdefault(one.name, one)
    return list(best.values())


def _worth(situation: Situation, one: Application) -> tuple[bool, int]:
    """Order in which workers go: those without work first, then by falling number."""
    node = (situation.nodes or {}).get(one.name)
    number = one.name.rpartition("-")[2]
    return bool(node and node.state != "idle"), -int(number) if number.isdigit() else 0


def _since(one: Application, now: float) -> float:
    return _seconds(one.starting_at) or _seconds(one.created_at) or now


def _lived(one: Application, now: float) -> float:
    began = _seconds(one.running_at)
    return 0.0 if began is None else max(0.0, (_seconds(one.stopped_at) or now) - began)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
