"""Jobs and runs over HTTP."""

from __future__ import annotations

from aiohttp import web

from rayllm_backend_cai.testing import runs
from rayllm_backend_cai.testing.listing import page
from rayllm_backend_cai.testing.replies import absent, bad, reply
from rayllm_backend_cai.testing.route_helpers import body_of, change, world_of
from rayllm_backend_cai.testing.schemas import CREATE_JOB, CREATE_RUN, JOB
from rayllm_backend_cai.testing.workloads import job_of
from rayllm_backend_cai.testing.world import Item, Job, Project

routes = web.RouteTableDef()
_JOBS = "/api/v2/projects/{project}/jobs"
_JOB = _JOBS + "/{job}"
_RUN = _JOB + "/runs/{run:[^/:]+}"
IGNORED = frozenset({"paused", "timezone", "recipients"})
"""Taken by PATCH, and without effect."""


def _job(request: web.Request) -> tuple[Project, Job]:
    project = world_of(request).project(request.match_info["project"])
    return project, job_of(project, request.match_info["job"])


def _run(request: web.Request) -> Item:
    _, job = _job(request)
    name = request.match_info["run"]
    if name not in job.runs:
        raise absent(f"job run {name}")
    return job.runs[name]


@routes.get("/api/v2/jobs")
async def list_all_jobs(request: web.Request) -> web.Response:
    """Those of all projects."""
    world = world_of(request)
    rows = [row for project in world.projects.values() for row in world.shown(project.jobs)]
    return reply(page(rows, "jobs", request.query))


@routes.get(_JOBS)
async def list_jobs(request: web.Request) -> web.Response:
    """A project's."""
    world = world_of(request)
    return reply(page(world.shown(world.project(request.match_info["project"]).jobs), "jobs", request.query))


@routes.post(_JOBS)
async def create_job(request: web.Request) -> web.Response:
    """Make one."""
    world = world_of(request)
    project = world.project(request.match_info["project"])
    return reply(runs.create(world, project, await body_of(request, CREATE_JOB)).row)


@routes.get(_JOB)
async def get_job(request: web.Request) -> web.Response:
    """One."""
    return reply(_job(request)[1].row)


@routes.patch(_JOB)
async def patch_job(request: web.Request) -> web.Response:
    """Change it."""
    _, job = _job(request)
    told = await body_of(request, JOB)
    if "runtime_addon_identifiers" in told and "runtime_identifier" not in told:
        raise bad("runtime_addon_identifiers need runtime_identifier")
    if "runtime_identifier" in told:
        told.setdefault("runtime_addon_identifiers", [])
    row = change(world_of(request), job, told, IGNORED)
    row["type"] = "dependent" if row["parent_id"] else "cron" if row["schedule"] else "manual"
    return reply(row)


@routes.delete(_JOB)
async def delete_job(request: web.Request) -> web.Response:
    """Delete it; what runs of it ends."""
    project, job = _job(request)
    for run in job.runs.values():
        runs.stop(world_of(request), run)
    del project.jobs[job.row["id"]]
    return reply({})


@routes.get(_JOB + "/runs")
async def list_runs(request: web.Request) -> web.Response:
    """A job's."""
    return reply(page(world_of(request).shown(_job(request)[1].runs), "job_runs", request.query))


@routes.post(_JOB + "/runs")
async def create_run(request: web.Request) -> web.Response:
    """Start one."""
    project, job = _job(request)
    return reply(runs.start(world_of(request), project, job, await body_of(request, CREATE_RUN)).row)


@routes.get(_RUN)
async def get_run(request: web.Request) -> web.Response:
    """One."""
    return reply(_run(request).row)


@routes.post(_RUN + ":stop")
async def stop_run(request: web.Request) -> web.Response:
    """Stop it."""
    run = _run(request)
    runs.stop(world_of(request), run)
    return reply(run.row)
