"""Leaving nothing behind: applications stopped, deleted and seen gone, then what is ours on the disk."""

from __future__ import annotations

from rayllm import ClusterError, Progress
from rayllm_backend_cai import shared
from rayllm_backend_cai.api.records import ENDED, Application, Project
from rayllm_backend_cai.applications import ENDED as OVER
from rayllm_backend_cai.applications import group_of
from rayllm_backend_cai.environment_job import job_name
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.steps.nodes import GONE_S, Place, remove, stop
from rayllm_backend_cai.steps.waiting import until

ROUNDS = 5
"""How often workers may turn up after all were removed, before somebody else is said to make them."""


def remove_cluster(place: Place, progress: Progress) -> bool:
    """Remove the applications of a cluster and its folder, whatever state they are in.

    The head is stopped first: it would bring workers back. What it made meanwhile goes with the others, or in another
    round.

    Returns:
        False if there was nothing of it.

    Raises:
        ClusterError: something does not go, or comes back.
    """
    found = False
    for _ in range(ROUNDS):
        there = place.applications()
        if not there:
            break
        found = True
        if any(not group_of(one) for one in there):
            progress("cluster", "stopping the head")
            there = _without_head(place)
        progress("cluster", f"removing {len(there)} application{'s' * (len(there) != 1)}")
        remove(place, there)
    else:
        raise ClusterError(
            f"applications of {place.name} come back as fast as they are removed",
            cause=", ".join(one.name for one in there),
            cure="does another operator run `rayllm up` right now? Agree who goes first, then: rayllm down",
            topic="another-operator",
        )
    found |= _remove_job(place)
    folder = str(shared.cluster_folder(place.name))
    if place.client.files.folder(place.project, folder):
        progress("cluster", "removing its files")
        found = True
    place.client.files.delete(place.project, folder)
    return found


def _remove_job(place: Place) -> bool:
    """The one that builds environments, which stay for the next cluster; a run of it ends. False: there is none."""
    jobs, project = place.client.jobs, place.project
    named = jobs.named(project, job_name(place.name))
    for job in named:
        for run in jobs.runs(project, job.id):
            if run.status not in ENDED:
                jobs.stop(project, job.id, run.id)
        jobs.delete(project, job.id)
    return bool(named)


def _without_head(place: Place) -> list[Application]:
    """The applications of the cluster, once no head of it runs any more."""

    def look() -> list[Application] | None:
        there = place.applications()
        alive = [one for one in there if not group_of(one) and one.status not in OVER]
        for one in alive:
            if one.status != "stopping":
                stop(place, one)
        return None if alive else there

    return until(
        look,
        GONE_S,
        lambda: ClusterError(
            f"the application {place.name} has not stopped within {GONE_S:g} s",
            cure="stop it in the workspace, then: rayllm down",
            topic="cai-application",
        ),
    )


def remove_more(place: Place, project: Project, options: CaiOptions, progress: Progress) -> None:
    """What the person asked to go beyond the cluster: RayLLM's files in the project, or the project itself.

    Raises:
        ClusterError: others use it.
    """
    if options.on_down == "cluster":
        return
    everybody = place.client.applications.all(place.project)
    ours = options.on_down == "project"
    left = everybody if ours else [one for one in everybody if shared.CLUSTER in one.environment]
    if left:
        raise ClusterError(
            f"{place.name} is removed, but not the {'project' if ours else 'files'}: other applications are there",
            cause=", ".join(sorted(one.name for one in left)),
            cure="remove them first, or leave cluster.options.on_down out",
        )
    if not ours:
        progress("cluster", "removing RayLLM's files in the project")
        place.client.files.delete(place.project, str(shared.HOME))
        return
    progress("cluster", f"removing the project {project.name}")
    place.client.projects.delete(place.project)
