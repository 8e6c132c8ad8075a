"""The backend `cai`: what an operator does, from any machine. All that it knows is on the platform."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from rayllm import Cluster, ClusterBackend, ClusterError, ClusterSpec, InputError, Progress
from rayllm.names import did_you_mean
from rayllm_backend_cai import endings, shared
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.api.records import Project
from rayllm_backend_cai.checks import workspace_of
from rayllm_backend_cai.cluster_report import ALIVE, Records, report
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps.files import Disk
from rayllm_backend_cai.steps.keeper_words import keeper_record, lacking
from rayllm_backend_cai.steps.keys import Ingress, ingress_of
from rayllm_backend_cai.steps.nodes import Place
from rayllm_backend_cai.steps.project import find_project
from rayllm_backend_cai.steps.removal import remove_cluster, remove_more
from rayllm_backend_cai.steps.scaling import Scaling
from rayllm_backend_cai.steps.wanted_file import stored_wanted


@dataclass(frozen=True)
class Found:
    """A project that is there, and the cluster's place in it."""

    project: Project
    place: Place
    ingress: Ingress

    def wanted(self) -> Wanted | None:
        """What the cluster should be; None if nobody wants it."""
        return stored_wanted(self.place.client, self.place.project, self.place.name)

    def cluster(self, wanted: Wanted | None) -> Cluster | None:
        """The cluster as it is, where this is wanted; None if there is none."""
        place, client = self.place, self.place.client
        there = place.applications()
        if not there and wanted is None:
            return None
        ended = any(one.status not in ALIVE for one in there)
        fewer = wanted is not None and lacking(there, wanted, most=True)
        return report(
            client.workspace,
            self.ingress,
            place.name,
            applications=there,
            wanted=wanted,
            records=Records.read(shared.cluster_folder(place.name), Disk(client, place.project).read),
            usage=client.account.usage({"name": place.name}) if ended else (),  # of its nodes: their names begin so
            kept=keeper_record(place) if fewer else None,
        )


class CaiBackend(ClusterBackend):
    """Applications of a workspace as a Ray cluster."""

    def __init__(self, options: CaiOptions) -> None:
        self._options = options

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Bring the cluster up, or take what is there of it, step by step; every step may be repeated."""
        from rayllm_backend_cai.steps.bringing_up import bring_up
        from rayllm_backend_cai.steps.rules import require_possible

        require_possible(spec, self._options)
        with CaiClient(workspace_of(self._options)) as client:
            return bring_up(client, self._options, spec, progress)

    def find(self, name: str) -> Cluster | None:
        """The cluster as the platform and its head's records tell: five requests.

        One more where a node has ended, and one where there could be more workers: the head may know why there are not.
        """
        with self._found(name) as found:
            return found.cluster(found.wanted()) if found else None

    def destroy(self, name: str, progress: Progress) -> None:
        """Remove the applications and the cluster's folder; what else goes, the option `on_down` says."""
        there = False
        with self._found(name) as found:
            if found is not None:
                there = remove_cluster(found.place, progress)
                remove_more(found.place, found.project, self._options, progress)
        progress("cluster", "gone" if there else "there is nothing of it to remove", done=True)

    def scale(self, name: str, group: str, count: int, progress: Progress) -> None:
        """Write how many are wanted; the head makes and drains workers. Returns when that is done."""
        from rayllm_backend_cai.steps.rules import require_names

        with self._found(name) as found:
            wanted = found.wanted() if found else None
            cluster = found.cluster(wanted) if found else None
            if found is None or wanted is None or cluster is None:
                raise ClusterError(f"{name} is not running", cure="start it: rayllm up")
            if group not in wanted.groups:
                raise InputError(
                    f"{name} has no group of nodes {group!r}{did_you_mean(group, wanted.groups)}",
                    cure=f"it has {', '.join(sorted(wanted.groups)) or 'none: cluster.options.workers'}",
                )
            require_names(name, group, count)
            if cluster.state != "ready":
                raise ClusterError(f"the cluster {name} is {cluster.state}", cause=cluster.reason, cure="rayllm up")
            Scaling(found.place, wanted, progress).to(cluster, group, count)

    def logs(self, name: str, node: str, *, lines: int) -> Iterator[str]:
        """The end of a node's supervisor's log, which lies on the project's disk."""
        with self._found(name) as found:
            if found is None:
                raise InputError(f"there is no cluster {name}", cure="start it: rayllm up")
            client, folder = found.place.client, shared.cluster_folder(name) / "logs"
            try:
                text = client.files.download(found.project.id, str(folder / node / endings.LOG))
            except NotFoundError:
                known = [file.path for file in client.files.folder(found.project.id, str(folder)) if file.is_dir]
                raise InputError(
                    f"{name} has no log of a node {node!r}{did_you_mean(node, known)}",
                    cure=f"there are logs of {', '.join(sorted(known)) or 'no node yet'}",
                ) from None
        told = text.decode(errors="replace").splitlines(keepends=True)
        yield from told if lines < 0 else told[len(told) - min(lines, len(told)) :]

    @contextlib.contextmanager
    def _found(self, name: str) -> Iterator[Found | None]:
        """The project, if there is one."""
        workspace = workspace_of(self._options)
        with CaiClient(workspace) as client:
            try:
                project = find_project(client, self._options, name)
            except NotFoundError:  # the one that is named by its id is gone
                project = None
            if project is None:
                yield None
                return
            yield Found(project, Place(client, project.id, name), ingress_of(self._options, workspace))
