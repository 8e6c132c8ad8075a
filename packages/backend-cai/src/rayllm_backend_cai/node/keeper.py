"""Keeps the workers' applications as they should be: looks, decides (`groups`), acts, and tells why (`notes`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rayllm_backend_cai import applications
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.errors import CaiError, KeyRefusedError, NotFoundError, UnavailableError
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.node import groups, holds
from rayllm_backend_cai.node.groups import Delete, Drain, Make, RayNode, Situation, Stop
from rayllm_backend_cai.node.notes import Notes, log
from rayllm_backend_cai.node.records import Watched
from rayllm_backend_cai.shared import Leaving, Wanted, wanted_files

BUSY_S = 2.0
"""Seconds between two lists while something is under way."""
CALM_S = 10.0
"""While all is as it should be."""
TROUBLE_S = 60.0
"""After the platform did not answer, whatever its client tried."""
_DELETE_AGAIN_S = 60.0
_TAKEN_S = 600.0
"""Seconds that a name is not tried again whose subdomain belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Ray tells."""

    nodes: Mapping[str, RayNode]
    more: Mapping[str, int] = field(default_factory=dict)
    idle: Collection[str] = ()


class Ray(Protocol):
    """What is asked of Ray."""

    def look(self, wanted: Wanted, workers: Mapping[str, Sequence[str]]) -> Seen | None:
        """Nodes, and what waiting work needs, where these workers, by group, are there or come; None: no answer."""

    def drain(self, node: str, reason: str, until: float, *, idle: bool) -> bool:
        """Let a node's work go elsewhere, or, if `idle`, let it go only if it has none; whether Ray does so."""


class Keeper:
    """Keeps one cluster's workers.

    Args:
        folder: the cluster's, on the project's disk.
        project: the project's id.
        client: of the platform.
        ray: the cluster's.
        why: tells why an application ended.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        project: str,
        client: CaiClient,
        ray: Ray,
        *,
        why: Callable[[CaiClient, Application], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = Watched(Wanted, *wanted_files(folder))
        self._project = project
        self._client = client
        self._ray = ray
        self._why = why
        self._clock = clock
        self.notes = Notes(folder)
        self._workers: list[Application] = []
        self._taken: set[str] = set()
        self._nodes: frozenset[str] | None = None
        self._wanted: Wanted | None = None
        self._next = 0.0
        self._deleted: dict[str, float] = {}
        self._strange: dict[str, float] = {}

    def tick(self) -> None:
        """Look, and do what is due. Asks the platform at most every `BUSY_S`."""
        wanted = self._file.look()
        if wanted is None:
            return
        now, situation = self._clock(), self._situation(wanted)
        nodes = None if situation.nodes is None else frozenset(situation.nodes)
        news = wanted != self._wanted or nodes != self._nodes or groups.unsettled(situation)
        if now < self._next - (CALM_S - BUSY_S if news and not self.notes.record.trouble else 0):
            return
        self._forget_refusals(wanted)
        self._wanted, self._nodes, self._next = wanted, nodes, now + CALM_S
        try:
            self._list(wanted)
            self._act(self._situation(wanted))
            self.notes.trouble("", now)
        except CaiError as error:
            self._next = self._clock() + TROUBLE_S
            stuck = isinstance(error, KeyRefusedError)
            why = _no_key(wanted.name, error) if stuck else ": ".join(filter(None, [error.message, error.cause]))
            self.notes.trouble(why, now, stuck=stuck)
        finally:
            self.notes.save()

    def _forget_refusals(self, wanted: Wanted) -> None:
        """Who asks for another number of a group waits for an answer of today."""
        before = (self._wanted or wanted).groups
        for group in self.notes.record.refused:
            if before.get(group) != wanted.groups.get(group):
                self.notes.refused(group, None)

    def _situation(self, wanted: Wanted) -> Situation:
        """What is known, with a fresh look at Ray."""
        now = self._clock()
        strange = {name for name, at in self._strange.items() if now < at + _TAKEN_S}
        told = Situation(
            wanted=wanted,
            record=self.notes.record,
            workers=self._workers,
            taken=self._taken | strange,
            nodes=None,
            now=now,
        )
        seen = self._ray.look(wanted, {group: [one.name for one in told.staying(group)] for group in wanted.groups})
        return told if seen is None else replace(told, nodes=seen.nodes, more=seen.more, idle=seen.idle)

    def _list(self, wanted: Wanted) -> None:
        """See what is there. What was made or found before and is not listed is asked for by its id: lists lag."""
        every = self._client.applications.all(self._project)
        listed = {one.id for one in every}
        now, record = self._clock(), self.notes.record
        for name, application in record.made.items():
            if application not in listed and application not in self._deleted:
                try:
                    every.append(self._client.applications.get(self._project, application))
                except NotFoundError:
                    self.notes.lost(name, application)
                    if application not in record.leaving:
                        self.notes.event(name, "vanished: it was deleted by somebody else", now)
        there = {one.id for one in every}
        for application, leaving in record.leaving.items():
            if application not in there:
                self.notes.stays(application)
                self.notes.lost(leaving.name, application)
                self.notes.event(leaving.name, "is gone", now)
        self._deleted = {one: at for one, at in self._deleted.items() if one in there and now < at + _DELETE_AGAIN_S}
        self._taken = {told for one in every for told in (one.name, one.subdomain)}
        workers = [one for one in applications.of_cluster(every, wanted.name) if applications.group_of(one)]
        for one in workers:
            if one.id not in self._deleted and self.notes.record.made.get(one.name) is None:
                self.notes.made(one.name, one.id)
        self._workers = [one for one in workers if one.id not in self._deleted]

    def _act(self, situation: Situation) -> None:
        self._replace(situation)
        situation = replace(situation, record=self.notes.record)
        for one, leaving in groups.surplus(situation):
            self.notes.leaving(one.id, leaving, situation.now)
        self.notes.save()  # before Ray lets a worker go: that one looks whether it is to come back
        situation = replace(situation, record=self.notes.record)
        for step in groups.steps(situation):
            self._step(step)
        for make in groups.missing(situation):
            self._make(situation.wanted, make)
        for group, hold in situation.record.failing.items():
            if situation.now > hold.again + holds.STEADY_S:
                self.notes.failing(group, None)

    def _replace(self, situation: Situation) -> None:
        """Explain what ended, and let it go."""
        now = situation.now
        for one in groups.ended(situation):
            why = self._explain(one.worker)
            reason = ": ".join(filter(None, [one.text, why]))
            self.notes.leaving(one.worker.id, Leaving(name=one.worker.name, reason=reason, since=now, until=now), now)
            group = applications.group_of(one.worker)
            hold = holds.after_end(
                self.notes.record.failing.get(group), f"{one.worker.name} {reason}", one.lived_s, now
            )
            self.notes.failing(group, hold)
            if hold.again > now:
                self.notes.event(group, f"{hold.count} in a row ended soon: a pause of {hold.again - now:.0f} s", now)

    def _explain(self, worker: Application) -> str:
        try:
            return self._why(self._client, worker)
        except NotFoundError:
            return ""

    def _step(self, step: Drain | Stop | Delete) -> None:
        one = step.worker
        try:
            match step:
                case Drain():
                    self._drain(step)
                case Stop():
                    self._client.applications.stop(self._project, one.id)
                case Delete():
                    self._client.applications.delete(self._project, one.id)
                    self._deleted[one.id] = self._clock()
        except NotFoundError:
            self._deleted[one.id] = self._clock()
        except (UnavailableError, KeyRefusedError):
            raise
        except CaiError as error:  # the others' steps go on, and this one is tried again
            log.warning("%s: %s", one.name, error)

    def _drain(self, step: Drain) -> None:
        leaving = step.leaving
        taken = self._ray.drain(step.node, leaving.reason, leaving.until, idle=leaving.idle)
        if not taken and leaving.idle:
            self.notes.stays(step.worker.id)
            self.notes.event(leaving.name, "stays: it was given work", self._clock())

    def _make(self, wanted: Wanted, make: Make) -> None:
        now, record = self._clock(), self.notes.record
        if make.group in record.refused and now < record.refused[make.group].again:
            return
        new = applications.worker_application(wanted, make.group, make.number)
        try:
            made = self._client.applications.create(self._project, new)
        except (UnavailableError, KeyRefusedError):
            raise
        except CaiError as error:
            said = error.said or error.message
            hold = holds.after_refusal(record.refused.get(make.group), said, now)
            self.notes.refused(make.group, hold)
            self.notes.event(make.group, f"{new.name} was refused: {said}", now)
            if "subdomain" in error.said:
                self._strange[new.name] = now
        else:
            self.notes.refused(make.group, None)
            self.notes.made(new.name, made.id)
            self.notes.event(new.name, "is made", now)
            self._workers.append(made)
            self._taken.add(new.name)


def _no_key(cluster: str, error: CaiError) -> str:
    """Why nothing is done with a key that is refused; a pod has one for its whole life."""
    return (
        f"the key of the head is refused ({error.said or error.message}): what runs goes on, and no worker is made or "
        f"removed until the application {cluster} is restarted in the workspace, which gives it another key"
    )
