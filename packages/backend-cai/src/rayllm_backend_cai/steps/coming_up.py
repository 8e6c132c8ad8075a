"""Waiting until the head runs, until Ray answers at its address, and until all nodes have joined."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rayllm import Cluster, ClusterError, Progress
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai import endings, shared
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import group_of
from rayllm_backend_cai.cluster_report import RECORDS, Records
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps.files import Disk
from rayllm_backend_cai.steps.keeper_words import keeper_words
from rayllm_backend_cai.steps.node_words import node_says
from rayllm_backend_cai.steps.nodes import Place, settled
from rayllm_backend_cai.steps.the_head import require_head
from rayllm_backend_cai.steps.waiting import OFTEN_S, Seldom, until
from rayllm_backend_cai.steps.wanted_file import WantedFile

START_S = 600.0
"""Seconds that a head may take until it runs, then until Ray answers, then until all nodes have joined."""
_SELDOM = 10
"""Looks, each of them one list, for each at what nodes say of themselves, and at whether all is still wanted."""
_FIRST = 2
"""The first look at which that is asked: what takes a few seconds is not told."""
_TOLD = 3
"""Workers of which it is told what they are at: each is asked for by itself, in turn."""
_AGAIN = "rayllm up goes on from here; or begin anew: rayllm down, then rayllm up"


@dataclass(frozen=True)
class ComingUp:
    """One wait after the other. What is asked of the platform while waiting is one list, each time."""

    place: Place
    wanted: Wanted
    progress: Progress

    def await_head(self) -> Application:
        """The head, once the platform calls it running.

        Raises:
            ClusterError: it ended, vanished, or takes too long; with why, as far as somebody knows.
        """
        head: Application | None = None

        def look() -> Application | None:
            nonlocal head
            there = settled(self.place, self.place.applications())
            head = require_head(self.place, there)
            up = sum(one.status == "running" for one in there)
            self.progress("nodes", f"{up} of {len(there)} applications run; the head is {head.status}")
            return head if head.status == "running" else None

        return until(look, START_S, lambda: self._late(head))

    def await_records(self) -> Records:
        """What the head writes once Ray has started in it; the platform calls it running before.

        Raises:
            ClusterError: it writes nothing, or ends.
        """
        self.progress("cluster", "waiting for Ray to start")
        folder, files = shared.cluster_folder(self.place.name), self.place.client.files
        read = Disk(self.place.client, self.place.project).read
        looks = itertools.count()

        def look() -> Records | None:
            there = {file.path for file in files.folder(self.place.project, str(folder))}
            if there >= RECORDS and (records := Records.read(folder, read)).whole:
                return records
            if next(looks) % _SELDOM == _FIRST:
                require_head(self.place, self.place.applications())
                said = node_says(self.place, self.place.name)
                self.progress("cluster", f"waiting for Ray to start; the head: {said}")
            return None

        return until(look, START_S, self._unwritten)

    def await_ray(self, cluster: Cluster) -> None:
        """Return when Ray's dashboard answers at the cluster's address.

        Raises:
            ClusterError: it does not, or something else does.
        """
        self.progress("cluster", "waiting for Ray to answer")
        last: ClusterError | None = None
        due = Seldom()

        def look() -> bool | None:
            nonlocal last
            try:
                return bool(api.version())
            except UnreachableError as error:
                if "CERTIFICATE_VERIFY_FAILED" in (error.cause or ""):  # waiting mends nothing
                    raise self._distrusted(cluster, error) from error
                last = error
                if due():
                    require_head(self.place, self.place.applications())
                return None
            except ClusterError as error:
                raise self._kept_out(cluster, error) from error

        with ServeApi.of(cluster) as api:
            until(look, START_S, lambda: self._silent(cluster, last), every_s=OFTEN_S)

    def await_workers(self, cluster: Cluster) -> list[Application]:
        """The cluster's applications, once the fewest workers of each group run, to the platform and to Ray.

        Under what names, is the head's business: those of workers that it replaces may be taken for a while.

        Raises:
            ClusterError: some are not, in time; with why, as far as somebody knows. Or somebody else has changed what
                the cluster should be.
        """
        alive: set[str] = set()
        looks, words = itertools.count(), ""
        turns = itertools.count()
        said: dict[str, str] = {}
        there: list[Application] = []
        due = Seldom()
        least = {group: told.min for group, told in self.wanted.groups.items()}
        file = WantedFile(self.place.client, self.place.project, self.place.name)

        def look() -> bool | None:
            nonlocal alive, there, words
            before, alive = alive, _alive(api)
            if alive == before and not due():
                return None
            there = settled(self.place, self.place.applications())
            joined = Counter(group_of(one) for one in there if one.name in alive and one.status == "running")
            lack = sum(max(0, count - joined[group]) for group, count in least.items())
            if not lack:
                return True
            absent = _absent(there, alive)
            if next(looks) % _SELDOM == _FIRST:
                file.require(self.wanted)
                words = "".join(f"; {line}" for line in keeper_words(self.place))
                running = [one.name for one in absent[:_TOLD] if one.status == "running"]
                if running:
                    name = running[next(turns) % len(running)]
                    said[name] = node_says(self.place, name)
            total = sum(least.values())
            each = "".join(f"; {one.name}: {said.get(one.name, one.status)}" for one in absent[:_TOLD])
            self.progress("nodes", f"{total - lack} of {total} workers have joined{words}{each}")
            return None

        with ServeApi.of(cluster) as api:
            until(look, START_S, lambda: self._missing(alive, there), every_s=OFTEN_S)
        return there

    def _unwritten(self) -> ClusterError:
        words = endings.last_words(self.place.client, self.place.project, self.place.name, self.place.name)
        return ClusterError(
            f"Ray has not started in the head of {self.place.name} within {START_S / 60:g} minutes",
            cause=words or None,
            cure=f"mend what the cause names; is the project's disk full or slow? {_AGAIN}",
            topic="cai-application",
        )

    def _late(self, head: Application | None) -> ClusterError:
        state, cause = "absent", None
        if head is not None:
            state = head.status
            cause = endings.explained(self.place.client, self.place.project, self.place.name, head)
        return ClusterError(
            f"the head of {self.place.name} is still {state} after {START_S / 60:g} minutes",
            cause=cause,
            cure=f"is there room for it (quota, nodes with such GPUs)? {_AGAIN}",
            topic="cai-application",
        )

    def _silent(self, cluster: Cluster, last: ClusterError | None) -> ClusterError:
        words = endings.last_words(self.place.client, self.place.project, self.place.name, cluster.name)
        told = "\n".join(filter(None, (last.message if last else "", last.cause if last else "", words)))
        return ClusterError(
            f"Ray does not answer at {cluster.dashboard_url}, {START_S / 60:g} minutes after the head runs",
            cause=told or None,
            cure=f"can this machine reach the address (DNS, VPN, HTTPS_PROXY)? {_AGAIN}",
            topic="cai-application",
        )

    def _distrusted(self, cluster: Cluster, error: ClusterError) -> ClusterError:
        return ClusterError(
            f"the certificate at {cluster.gateway_url} is not trusted",
            cause=error.cause,
            cure="set SSL_CERT_FILE to a file (PEM) with the workspace's certificate authority; cluster.options.ca is "
            "for its API alone",
            topic="cai-certificate",
        )

    def _kept_out(self, cluster: Cluster, error: ClusterError) -> ClusterError:
        """The ingress's own answer, as a page to log in."""
        if self.wanted.bypass_authentication:
            cure = (
                "the workspace's administrator may not allow applications without log-in (Allow applications to be "
                "configured with unauthenticated access): ask, or leave bypass_authentication out"
            )
        else:
            cure = "is the application key one of this workspace, with the audience Application?"
        return ClusterError(
            f"{cluster.dashboard_url} does not answer as Ray does",
            cause=str(error.message),
            cure=cure,
            topic="cai-application",
        )

    def _missing(self, alive: Collection[str], there: Iterable[Application]) -> ClusterError:
        whys = [f"{one.name}: {self._why(one)}" for one in _absent(there, alive)]
        return ClusterError(
            f"not all workers of {self.place.name} have joined within {START_S / 60:g} minutes",
            cause="\n".join([*keeper_words(self.place), *whys]) or None,
            cure=_AGAIN,
            topic="cai-application",
        )

    def _why(self, worker: Application) -> str:
        """What a worker says of itself, and what is known of one that does not run."""
        place, said = self.place, node_says(self.place, worker.name)
        if worker.status == "running":
            return said
        return f"{worker.status}; {endings.explained(place.client, place.project, place.name, worker)}"


def _absent(there: Iterable[Application], alive: Collection[str]) -> list[Application]:
    """Workers that have not joined yet, by name."""
    absent = [one for one in there if group_of(one) and not (one.name in alive and one.status == "running")]
    return sorted(absent, key=lambda one: one.name)


def _alive(api: ServeApi) -> set[str]:
    """Names of the nodes that Ray calls alive."""
    try:
        return {node.name for node in api.nodes() if node.state == "alive"}
    except UnreachableError:
        return set()
