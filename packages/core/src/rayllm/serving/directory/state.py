"""Who serves what, right now: soft state with leases, as a plain object that needs no Ray."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TypedDict

LEASE_S = 10.0
GIVEN_BACK_S = 60.0
"""Seconds for which a renewal may be under way: the one that Ctrl-C cut off can be heard after the giving back."""
"""A replica or a gateway that was silent this long is forgotten."""
RENEW_S = 3.0
"""How often replicas renew."""
PAST_S = 3600.0
"""How long a failure is told of after its model is ready again."""
YOUNG_S = 2 * RENEW_S
"""A directory younger than this may not have heard from everyone yet: nobody is taken out on its word."""


PREPARES = frozenset({"environment", "weights"})
"""Phases of a replica that has not started its engine: it has no log."""


class AdapterReport(TypedDict):
    """What a replica says of one of its adapters."""

    source: str
    state: str
    """`loading`, `loaded` or `failed`."""
    message: str
    """What went wrong; how far it is while it loads."""
    cause: str
    cure: str
    at: float
    """Unix time of the last change."""


class LaterReport(TypedDict, total=False):
    """What a replica has to say once it knows; some of it only some replicas."""

    guard: tuple[str, int]
    """Address and port of its guard, by which it is reached from other machines."""
    version: str
    """Of the engine's own package; empty for an engine that needs none."""
    environment: str
    """Name of the environment that RayLLM built for the engine; else the path of its interpreter."""
    device: str
    """`cpu` or `cuda`."""
    computing: float
    """Requests that the engine computes."""
    queued: float
    """Requests in the engine's queue."""
    ranks: list[str]
    """Ray's ids of the nodes of its ranks beside its own, of a replica on several nodes."""
    adapters: dict[str, AdapterReport]
    """Its LoRA adapters, by name."""


class ReplicaReport(LaterReport):
    """What a replica says of itself."""

    deployment: str
    model: str
    replica: str
    """Serve's unique id of the replica."""
    node: str
    """Ray's node id."""
    network: str
    """Whoever has the same value reaches this replica's loopback addresses."""
    phase: str
    """`environment`, `weights`, `starting`, `ready`, `failed` or `leaving`."""
    detail: str
    since: float
    """Unix time at which the phase began."""
    host: str
    port: int
    engine: str
    """The engine's name."""
    log: str
    """The engine's log file, relative to Ray's log folder on that node."""


class Failure(TypedDict):
    """Why a replica of a model failed last."""

    replica: str
    node: str
    log: str
    """As a report's; empty if it failed before its engine started."""
    message: str
    cause: str
    cure: str
    topic: str
    """What `rayllm explain` tells more about; may be empty."""
    at: float
    count: int


class Snapshot(TypedDict):
    """What a gateway or the admin API gets to see of one deployment."""

    epoch: str
    version: int
    young: bool
    replicas: list[ReplicaReport]
    failures: dict[str, Failure]
    """Of models that have not been ready since."""
    past: dict[str, Failure]
    """Of models that are ready again: the last failure, and how many there were within an hour of one another."""


class DirectoryState:
    """Replicas, gateways and failures of every deployment of a cluster."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.epoch = secrets.token_hex(4)
        # Higher than any of a directory before this one, whose versions gateways still confirm.
        self.version = time.time_ns() // 1_000_000
        self._clock = clock
        self._born = clock()
        self._replicas: dict[str, tuple[float, ReplicaReport]] = {}
        self._gateways: dict[tuple[str, str], tuple[float, int]] = {}
        self._failures: dict[tuple[str, str], Failure] = {}
        self._past: dict[tuple[str, str], Failure] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._given_back: dict[str, float] = {}
        """Holders that are done, until when their late renewals count for nothing."""
        self._left: dict[str, float] = {}
        """Replicas that left, until when their reports count for nothing: Ray keeps no order among an actor's calls."""

    def report(self, report: ReplicaReport) -> None:
        """Take a replica's word for what it is doing, and renew its lease."""
        if report["replica"] in self._left:
            return
        before = self._replicas.get(report["replica"])
        self._replicas[report["replica"]] = (self._clock() + LEASE_S, report)
        if _route(before[1] if before else None) != _route(report):
            self.version += 1
        if report["phase"] == "ready":
            self._recover((report["deployment"], report["model"]))

    def _recover(self, key: tuple[str, str]) -> None:
        """A model's failure is past; still told, or nobody would see an engine that crashes every minute."""
        if failure := self._failures.pop(key, None):
            before = self._past.get(key)
            count = before["count"] if before and failure["at"] - before["at"] < PAST_S else 0
            self._past[key] = {**failure, "count": count + failure["count"]}

    def leave(self, replica: str) -> int:
        """Forget a replica; returns the version that gateways have to confirm."""
        self._left[replica] = self._clock() + LEASE_S
        return self._forget(replica)

    def _forget(self, replica: str) -> int:
        gone = self._replicas.pop(replica, None)
        if gone and _route(gone[1]):
            self.version += 1
        return self.version

    def fail(self, report: ReplicaReport, message: str, cause: str, cure: str, topic: str) -> None:
        """Remember why a replica failed, until its model is ready again."""
        key = (report["deployment"], report["model"])
        count = self._failures[key]["count"] + 1 if key in self._failures else 1
        self._failures[key] = Failure(
            replica=report["replica"], node=report["node"],
            log="" if report["phase"] in PREPARES else report["log"],
            message=message, cause=cause, cure=cure, topic=topic, at=time.time(), count=count,
        )  # fmt: skip

    def expire(self) -> bool:
        """Forget who was silent for too long; True if routing changed."""
        now, before = self._clock(), self.version
        for replica in [name for name, (until, _) in self._replicas.items() if until < now]:
            self._forget(replica)
        self._left = {name: until for name, until in self._left.items() if until >= now}
        self._gateways = {name: seen for name, seen in self._gateways.items() if seen[0] >= now}
        self._past = {key: failure for key, failure in self._past.items() if failure["at"] > time.time() - PAST_S}
        return self.version != before

    def confirm(self, gateway: str, deployment: str, version: int) -> None:
        """A gateway says which version it routes by."""
        self._gateways[deployment, gateway] = (self._clock() + LEASE_S, version)

    def confirmed(self, deployment: str, version: int) -> bool:
        """True when every known gateway of `deployment` routes by `version` or a later one."""
        return all(seen >= version for (name, _), (_, seen) in self._gateways.items() if name == deployment)

    def snapshot(self, deployment: str) -> Snapshot:
        """Everything known of one deployment."""
        return Snapshot(
            epoch=self.epoch,
            version=self.version,
            young=self._clock() - self._born < YOUNG_S,
            replicas=[report for _, report in self._replicas.values() if report["deployment"] == deployment],
            failures={model: failure for (name, model), failure in self._failures.items() if name == deployment},
            past={model: failure for (name, model), failure in self._past.items() if name == deployment},
        )

    def acquire(self, deployment: str, holder: str, ttl_s: float, instead_of: str = "") -> str:
        """Take or renew the right to change a deployment; returns who has it.

        Args:
            deployment: its name.
            holder: who asks; a name that is never used again once it gave the right back.
            ttl_s: seconds it is held without being renewed.
            instead_of: a holder known to be dead, from whom it is taken.
        """
        now = self._clock()
        self._given_back = {name: until for name, until in self._given_back.items() if until >= now}
        current, until = self._leases.get(deployment, ("", 0.0))
        if until < now or current == instead_of:
            current = ""
        if holder in self._given_back or current not in {"", holder}:
            return current
        self._leases[deployment] = (holder, now + ttl_s)
        return holder

    def release(self, deployment: str, holder: str) -> None:
        """Give the right to change a deployment back."""
        self._given_back[holder] = self._clock() + GIVEN_BACK_S
        if self._leases.get(deployment, ("", 0.0))[0] == holder:
            del self._leases[deployment]


def loaded(report: ReplicaReport) -> frozenset[str]:
    """The adapters that a replica can answer by."""
    return frozenset(name for name, told in report.get("adapters", {}).items() if told["state"] == "loaded")


def _route(report: ReplicaReport | None) -> tuple[str, str, int, frozenset[str]] | None:
    """What gateways need of a replica; None while it can't serve."""
    if report is None or report["phase"] != "ready":
        return None
    return report["network"], report["host"], report["port"], loaded(report)
