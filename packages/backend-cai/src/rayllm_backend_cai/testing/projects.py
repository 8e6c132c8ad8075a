"""The life of a project: made, cloned, deleted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil

from rayllm_backend_cai.testing import replies
from rayllm_backend_cai.testing.replies import bad
from rayllm_backend_cai.testing.schemas import PROJECT, zeros
from rayllm_backend_cai.testing.workloads import finish
from rayllm_backend_cai.testing.world import Json, Project, World, person

_RIGHTS = dict.fromkeys(("read", "write", "admin", "business_user", "operator"), True) | {"inherit": False}


def create(world: World, told: Json) -> Project:
    """Make a project; it is `creating` for a while.

    Raises:
        Refused: it has no name, or is to be cloned from nowhere.
    """
    if not told.get("name"):
        raise bad("project name must be specified")
    cloned = told.get("template") == "git" or bool(told.get("git_url"))
    if cloned and not told.get("git_url"):
        raise bad("git_url must be specified")
    now = world.stamp()
    row = zeros(PROJECT) | {name: value for name, value in told.items() if name in PROJECT}
    row |= {"id": replies.dashed_id(), "slug": told["name"].lower().replace(" ", "-"), "creation_status": "creating"}
    row |= {"owner": person(), "creator": person(), "permissions": _RIGHTS, "created_at": now, "updated_at": now}
    row |= {"environment": json.dumps(told.get("environment", {})), "visibility": told.get("visibility", "private")}
    row["shared_memory_limit"] = told.get("shared_memory_limit", 64)
    row["default_engine_type"] = told.get("default_project_engine_type", "ml_runtime")
    folder = world.root / "projects" / row["id"]
    folder.mkdir(parents=True)
    project = Project(row, world.clock.now(), number=len(world.projects) + 1, folder=folder)
    world.projects[row["id"]] = project
    project.task = world.go(_clone(world, project, told) if cloned else _settle(world, project))
    return project


async def delete(world: World, project: Project) -> None:
    """Delete it with all that is in it."""
    project.gone = world.clock.now()
    runs = (run for job in project.jobs.values() for run in job.runs.values())
    for item in (project, *project.applications.values(), *runs):
        if item.task:
            item.task.cancel()
    left = [one for one in world.workloads if one.project == project.row["id"] and one.finished is None]
    await asyncio.gather(*(finish(world, one, "stopped") for one in left))
    del world.projects[project.row["id"]]
    await asyncio.to_thread(shutil.rmtree, project.folder, ignore_errors=True)


async def _settle(world: World, project: Project) -> None:
    await world.clock.until(project.created + world.settings.clone_s)
    project.row["creation_status"] = "success"


async def _clone(world: World, project: Project, told: Json) -> None:
    """Clone with git, beside requests; files may come after the project says that all is done."""
    settings = world.settings
    await world.clock.until(project.created + settings.clone_s)
    if settings.clone == "never ends":
        return
    aside = project.folder.with_name(f"{project.folder.name}.clone")
    done = settings.clone != "fails" and await _git(told["git_url"], told.get("git_ref", ""), str(aside))
    project.row["creation_status"] = "success" if done else "failure"
    if done:
        await world.clock.until(project.created + settings.clone_s + settings.files_late_s)
        await asyncio.to_thread(shutil.copytree, aside, project.folder, dirs_exist_ok=True)
    await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)


async def _git(url: str, ref: str, folder: str) -> bool:
    """Whether git cloned it."""
    which = ["--branch", ref] if ref else []
    silent = asyncio.subprocess.DEVNULL
    argv = ["clone", "--quiet", *which, "--", url, folder]
    git = await asyncio.create_subprocess_exec(
        "git", *argv, stdin=silent, stdout=silent, stderr=silent, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    )
    return await git.wait() == 0
