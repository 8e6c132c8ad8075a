"""The applications of a cluster: found, made, made anew where they ended, one of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rayllm import ClusterError, Progress
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, CaiError, NotFoundError, QuotaError
from rayllm_backend_cai.api.records import Application, NewApplication
from rayllm_backend_cai.applications import (
    ENDED,
    OVER,
    group_of,
    head_application,
    of_cluster,
    precedence,
    worker_application,
)
from rayllm_backend_cai.room import no_room
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps.waiting import until

GONE_S = 300.0
"""Seconds that an application may take to stop, or to leave the lists once it is deleted."""
SHOWN_S = 60.0
"""Seconds that an application that was made may be missing in the list."""
TAKEN_S = 30.0
"""Seconds in which a taken subdomain may turn out to be ours: lists may be behind, what was deleted may be left."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Place:
    """A cluster in a project."""

    client: CaiClient
    project: str
    name: str

    def applications(self) -> list[Application]:
        """Those of the cluster, duplicates included. One request."""
        return of_cluster(self.client.applications.all(self.project), self.name)


def head_of(applications: Iterable[Application]) -> Application | None:
    """The head among the applications of a cluster; of several the one that stays."""
    return min((one for one in applications if not group_of(one)), key=precedence, default=None)


class Nodes:
    """Brings the applications of a cluster to what is wanted. While a head runs, workers are its own business."""

    def __init__(self, place: Place, wanted: Wanted, stored: Wanted | None, progress: Progress) -> None:
        self._place = place
        self._wanted = wanted
        self._stored = stored
        self._progress = progress

    def ensure(self) -> bool:
        """Make what is missing; True where there was no head before."""
        there = settled(self._place, self._place.applications())
        head = head_of(there)
        keeps = head is not None and head.status == "running"
        stays = head is not None and head.status not in OVER and not self._changed(head)
        self._tell_of_code(there)
        if head is not None and not stays:  # before any worker is made: as long as it runs, it makes the same ones
            self._remove(head)
            there = settled(self._place, self._place.applications())
        wanted = [] if stays and keeps else self._workers()
        if not stays:  # in front: where there is room for some alone, it brings the others in later
            wanted.insert(0, head_application(self._wanted))
        by_name = {one.name: one for one in there}
        made = _together([(new, self._maker(new, by_name.get(new.name))) for new in wanted])
        if own := {one.id: one.name for one in made if one}:
            self._see(own)
        return head is None

    def _workers(self) -> list[NewApplication]:
        """The fewest of each group; the head makes those that are added later."""
        return [
            worker_application(self._wanted, group, number)
            for group, told in self._wanted.groups.items()
            for number in range(1, told.min + 1)
        ]

    def _maker(self, new: NewApplication, there: Application | None) -> Callable[[], Application | None]:
        """What makes one, anew if it has ended or could not join; nothing where it does well."""

        def make() -> Application | None:
            if there is not None:
                if not self._is_left_behind(there, new):
                    return None
                self._remove(there)
            self._progress("nodes", f"making {new.name}")
            return self._create(new)

        return make

    def _remove(self, one: Application) -> None:
        self._progress("nodes", f"removing {one.name}, which is {one.status}")
        remove(self._place, [one])

    def _is_left_behind(self, there: Application, new: NewApplication) -> bool:
        """Whether one ended, or has another Ray than the head that is made now."""
        serving = shared.SERVING_DIGEST
        return there.status in OVER or there.environment.get(serving) != new.environment[serving]

    def _changed(self, head: Application) -> bool:
        """Whether the head would be made otherwise today; told, since it interrupts what is served."""
        new, before = head_application(self._wanted), self._stored
        differs = {
            "cpus": (head.cpu, new.cpu),
            "memory": (head.memory, new.memory),
            "gpus": (head.nvidia_gpu, new.nvidia_gpu),
            "accelerator": (head.accelerator_label_id, new.accelerator_label_id or head.accelerator_label_id),
            "runtime": (head.runtime_identifier, new.runtime_identifier),
            "bypass_authentication": (head.bypass_authentication, new.bypass_authentication),
            "subdomain": (before.subdomain if before else new.subdomain, new.subdomain),
        }
        changed = [f"{name} {old} → {now}" for name, (old, now) in differs.items() if old != now]
        if changed:
            told = ", ".join(changed)
            self._progress("nodes", f"the head is made anew, which interrupts what is served for a while: {told}")
        return bool(changed)

    def _tell_of_code(self, there: Iterable[Application]) -> None:
        keys = {shared.CODE_DIGEST: self._wanted.code, shared.SERVING_DIGEST: self._wanted.serving}
        old = [one for one in there if any(one.environment.get(key) != value for key, value in keys.items())]
        if old:
            self._progress("nodes", f"{len(old)} of them run other code of RayLLM's; new nodes get this one's")

    def _create(self, new: NewApplication) -> Application | None:
        """Make one; None where another operator has made it meanwhile.

        Raises:
            ClusterError: the platform refuses it.
        """
        place = self._place
        refused: CaiError | None = None

        def look() -> Application | bool | None:
            nonlocal refused
            try:
                return place.client.applications.create(place.project, new)
            except CaiError as error:
                if not is_taken(error):
                    raise
                refused = error
            return any(one.name == new.name for one in place.applications()) or None

        found = until(look, TAKEN_S, lambda: _taken(new, refused))
        return found if isinstance(found, Application) else None

    def _see(self, own: dict[str, str]) -> None:
        """Wait until the lists show what was made: only then it is seen whether another operator did the same.

        What that one has taken for the newer of two, and removed, is never shown.
        """

        def look() -> bool | None:
            there = self._place.applications()
            ids, names = {one.id for one in there}, {one.name for one in there}
            late = [number for number, name in own.items() if number not in ids]
            waits = [number for number in late if own[number] not in names or self._exists(number)]
            settled(self._place, there)
            return None if waits else True

        def late() -> ClusterError:
            what = "applications that were made do not appear among the project's"
            return ClusterError(what, cure="does somebody else remove them? Then: rayllm up", topic="cai-application")

        until(look, SHOWN_S, late)

    def _exists(self, number: str) -> bool:
        try:
            self._place.client.applications.get(self._place.project, number)
        except NotFoundError:
            return False
        return True


def settled(place: Place, applications: Iterable[Application]) -> list[Application]:
    """One of each name, by `precedence`, which two operators agree on; the others are removed.

    While a head runs, only heads are: the head removes workers that are there twice.
    """
    best: dict[str, Application] = {}
    surplus = []
    there = sorted(applications, key=precedence)
    keeps = any(one.status == "running" and not group_of(one) for one in there)
    for one in there:
        if keeps and group_of(one):
            best[one.id] = one
        elif one.name in best:
            surplus.append(one)
        else:
            best[one.name] = one
    for one in surplus:
        discard(place, one)
    return list(best.values())


def discard(place: Place, application: Application) -> None:
    """Stop it and delete it; it may be gone, and lists may show it for a while."""
    if application.status not in OVER:
        stop(place, application)
    place.client.applications.delete(place.project, application.id)


def remove(place: Place, applications: list[Application]) -> None:
    """Stop and delete them, and return when they are seen gone.

    Raises:
        ClusterError: one does not go.
    """
    left = {one.id: one.name for one in applications}
    stopped = {one.id for one in applications if one.status in OVER}
    deleted: set[str] = set()

    def look() -> bool | None:
        there = {one.id: one for one in place.applications() if one.id in left}
        for number, one in there.items():
            if number not in stopped and one.status not in OVER:
                stop(place, one)
                stopped.add(number)
            elif one.status in ENDED and number not in deleted:
                place.client.applications.delete(place.project, number)
                deleted.add(number)
        return not there or None

    def late() -> ClusterError:
        names = ", ".join(sorted(left.values()))
        return ClusterError(
            f"{names}: not gone within {GONE_S:g} s",
            cure="stop and delete them in the workspace, then do the same again",
            topic="cai-application",
        )

    until(look, GONE_S, late)


def stop(place: Place, application: Application) -> None:
    """Ask it to stop; one that is gone or has ended meanwhile is no error."""
    try:
        place.client.applications.stop(place.project, application.id)
    except CaiError as error:
        if error.status not in {400, 404, 409}:
            raise


def is_taken(error: CaiError) -> bool:
    """Whether another application has the subdomain."""
    said = error.said.lower()
    return error.status in {400, 409} and "subdomain" in said and "pattern" not in said


def _together(wanted: list[tuple[NewApplication, Callable[[], Application | None]]]) -> list[Application | None]:
    """Do all of it at once; what fails is told when everything has ended, so that nothing is made unseen.

    Raises:
        ClusterError: there is no room for some; all of these are named.
        RayllmError: anything else failed.
    """
    if not wanted:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)), thread_name_prefix="cai") as pool:
        futures = [(new, pool.submit(make)) for new, make in wanted]
    failed = [(new, error) for new, future in futures if (error := future.exception())]
    refused = [(new, error) for new, error in failed if isinstance(error, QuotaError)]
    if refused and len(refused) == len(failed):
        error = refused[0][1]
        raise no_room("application", [new for new, _ in refused], error, cure=error.cure or "") from error
    return [future.result() for _, future in futures]


def _taken(new: NewApplication, refused: CaiError | None) -> ClusterError:
    head = new.environment.get(shared.TASK) == "head"
    return ClusterError(
        f"another application of the workspace has the subdomain {new.subdomain}",
        cause=refused.said if refused else None,
        cure="cluster.options.subdomain: another one" if head else "another name for the deployment or the group",
        topic="cai-application",
    )
