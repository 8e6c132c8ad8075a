"""Jobs and the life of their runs."""

from __future__ import annotations

import asyncio
import json

from rayllm_backend_cai.testing import replies
from rayllm_backend_cai.testing.applications import LOOK_S
from rayllm_backend_cai.testing.replies import PRECONDITION, Refused, bad
from rayllm_backend_cai.testing.schemas import JOB, RUN, zeros
from rayllm_backend_cai.testing.workloads import admit, check, finish, launch, new_workload, place
from rayllm_backend_cai.testing.world import Item, Job, Json, Project, World, person

ACTIVE = {"ENGINE_SCHEDULING", "ENGINE_STARTING", "ENGINE_RUNNING", "ENGINE_STOPPING"}
TIMEZONE = "America/Los_Angeles"


def create(world: World, project: Project, told: Json) -> Job:
    """Make a job.

    Raises:
        Refused: something of it is not to be had.
    """
    if not told.get("name"):
        raise bad("job name must be specified")
    check(world, project, told)
    parent = told.pop("parent_job_id", "") or told.get("parent_id", "")
    if parent and parent not in project.jobs:
        raise bad(f"parent job {parent} not found")
    if parent and told.get("schedule"):
        raise bad("a dependent job has no schedule")
    now = world.stamp()
    row = {**zeros(JOB), "cpu": 1.0, "memory": 1.0, "timezone": TIMEZONE, **told}
    row |= {"id": replies.dashed_id(), "parent_id": parent, "creator": person(), "owner": person()}
    row |= {"environment": json.dumps(told.get("environment", {})), "created_at": now, "updated_at": now}
    row |= {"timeout": str(told.get("timeout", 0)), "project": {"public_identifier": project.row["id"]}}
    row["type"] = "dependent" if parent else "cron" if row["schedule"] else "manual"
    job = Job(row, world.clock.now())
    project.jobs[row["id"]] = job
    return job


def start(world: World, project: Project, job: Job, told: Json) -> Item:
    """Start a run.

    Raises:
        Refused: another one is active, or there is too little for it.
    """
    now = world.stamp()
    inherited = ("cpu", "memory", "nvidia_gpu", "kernel", "runtime_identifier", "resource_group_id", "arguments")
    row = {**zeros(RUN), **{name: job.row[name] for name in inherited}, "creator": person(), "created_at": now}
    row |= {"id": replies.engine_id(), "project_id": project.row["id"], "job_id": job.row["id"]}
    row |= {"status": "ENGINE_SCHEDULING", "environment": json.dumps(told.get("environment", {}))}
    if "arguments" in told:
        row["arguments"] = told["arguments"]
    run = Item(row, world.clock.now())
    if any(other.row["status"] in ACTIVE for other in job.runs.values()):
        if world.settings.second_run == "refuse":
            raise Refused(400, PRECONDITION, f"job run for job {job.row['id']} already active")
        row |= {"status": "ENGINE_SKIPPED", "finished_at": now}
    else:
        admit(world, row)
        row["scheduling_at"] = now
        new_workload(world, "Job", project, run, job.row["name"])
        run.task = world.go(_live(world, project, job, run))
    job.runs[row["id"]] = run
    return run


def stop(world: World, run: Item) -> None:
    """Let a run end."""
    if run.row["status"] in ACTIVE - {"ENGINE_STOPPING"}:
        if run.task:
            run.task.cancel()
        run.row["status"] = "ENGINE_STOPPING"
        run.task = world.go(_end(world, run, "ENGINE_STOPPED", world.clock.now() + world.settings.stopping_s))


async def _live(world: World, project: Project, job: Job, run: Item) -> None:
    """From its place in the queue to its end, and on to the jobs that wait for it."""
    workload, timeout = run.workload, float(job.row["timeout"])
    assert workload is not None  # noqa: S101 - `start` has just made it
    placed = await place(world, workload)
    run.row |= {"status": "ENGINE_STARTING", "starting_at": world.stamp()}
    await world.clock.until(placed + world.settings.starting_s)
    own = {**job.environment, **run.environment, "JOB_ARGUMENTS": run.row["arguments"]}
    await launch(world, project, workload, job.row["script"], own)
    run.row |= {"status": "ENGINE_RUNNING", "running_at": world.stamp()}
    deadline = world.clock.now() + timeout if timeout and job.row["kill_on_timeout"] else float("inf")
    while (end := workload.pod.look(limited=world.settings.memory_limits)) is None:
        if world.clock.now() >= deadline:
            await _end(world, run, "ENGINE_TIMEDOUT")
            return
        await asyncio.sleep(LOOK_S)
    await _end(world, run, "ENGINE_FAILED" if end.exit_code else "ENGINE_SUCCEEDED")
    if end.exit_code == 0:
        for child in project.jobs.values():
            if child.row["parent_id"] == job.row["id"]:
                start(world, project, child, {})


async def _end(world: World, run: Item, status: str, moment: float = 0.0) -> None:
    if run.workload:
        await finish(world, run.workload, status.removeprefix("ENGINE_").lower())
    await world.clock.until(moment)
    run.row |= {"status": status, "finished_at": world.stamp()}
