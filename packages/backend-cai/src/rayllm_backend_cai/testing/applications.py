"""The life of an application: STARTING, RUNNING, then FAILED by itself or STOPPING and STOPPED when asked."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp

from rayllm_backend_cai.testing import replies
from rayllm_backend_cai.testing.replies import ABORTED, Refused, absent, bad
from rayllm_backend_cai.testing.schemas import APPLICATION, zeros
from rayllm_backend_cai.testing.workloads import admit, check, finish, launch, new_workload, place
from rayllm_backend_cai.testing.world import Item, Json, Project, World, person

POLLING = "CDSW_APP_POLLING_ENDPOINT"
LOOK_S = 0.02
"""Real seconds between looks at a process."""
_SUBDOMAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def find(world: World, project: str, application: str) -> tuple[Project, Item]:
    """An application by its id.

    Raises:
        Refused: there is none.
    """
    of = world.project(project)
    item = of.applications.get(application)
    if item is None or _is_gone(world, item):
        raise absent(f"application {application}")
    return of, item


def create(world: World, project: Project, told: Json) -> Item:
    """Make an application, which starts at once.

    Raises:
        Refused: something of it is not to be had.
    """
    if not told.get("name"):
        raise bad("application name must be specified")
    if not _SUBDOMAIN.fullmatch(told.get("subdomain", "")):
        raise bad("Problem with field Subdomain: invalid pattern")
    check(world, project, told)
    now = world.stamp()
    row = {
        **zeros(APPLICATION),
        "cpu": 1.0,
        "memory": 1.0,
        **told,
        "environment": json.dumps(told.get("environment", {})),
    }
    row |= {"id": replies.dashed_id(), "creator": person(), "created_at": now, "updated_at": now}
    if _owner(world, row["subdomain"]) and world.settings.taken_subdomain != "conflict":
        if world.settings.taken_subdomain == "refuse":
            raise Refused(409, ABORTED, f"subdomain {row['subdomain']} is already in use")
        row["subdomain"] += f"-{replies.suffix()}"
    admit(world, row)
    item = Item(row, world.clock.now())
    project.applications[row["id"]] = item
    start(world, project, item)
    return item


def start(world: World, project: Project, item: Item) -> None:
    """Start it with a new pod."""
    now = world.stamp()
    item.row |= {"status": "APPLICATION_STARTING", "starting_at": now, "updated_at": now}
    item.row |= {"running_at": None, "stopped_at": None}
    new_workload(world, "Application", project, item, item.row["name"])
    item.task = world.go(_live(world, project, item))


async def restart(world: World, project: Project, item: Item) -> None:
    """Start it anew; while it is STARTING, its first start's processes may be left behind.

    Raises:
        Refused: there is too little for it.
    """
    old = item.workload
    if old and old.finished is None:
        if item.row["status"] == "APPLICATION_STARTING" and world.settings.restart_leaves_orphans:
            _cancel(item)
            old.orphan = True
        else:
            _cancel(item)
            await finish(world, old, "stopped")
            item.row |= {"status": "APPLICATION_STOPPED", "stopped_at": world.stamp()}
    admit(world, item.row)
    start(world, project, item)


def stop(world: World, item: Item) -> None:
    """Let it end."""
    if item.row["status"] not in {"APPLICATION_STOPPED", "APPLICATION_STOPPING"}:
        _cancel(item)
        item.row |= {"status": "APPLICATION_STOPPING", "updated_at": world.stamp()}
        item.task = world.go(_stop(world, item, world.clock.now() + world.settings.stopping_s))


def delete(world: World, project: Project, item: Item) -> None:
    """Let it end and go; lists show it for a while."""
    stopping = 0.0 if item.row["status"] == "APPLICATION_STOPPED" else world.settings.stopping_s
    stop(world, item)
    item.gone = world.clock.now() + stopping + world.settings.deleting_s
    world.go(_delete(world, project, item, item.gone))


def owner(world: World, subdomain: str) -> tuple[Project, Item] | None:
    """Whose a subdomain is: the first that took it."""
    found = (
        (project, item)
        for project in world.projects.values()
        for item in project.applications.values()
        if item.row["subdomain"] == subdomain and not _is_gone(world, item)
    )
    return next(found, None)


async def _live(world: World, project: Project, item: Item) -> None:
    """From its place in the queue to its end, if nobody stops it."""
    workload = item.workload
    assert workload is not None  # noqa: S101 - `start` has just made it
    placed = await place(world, workload)
    await world.clock.until(placed + world.settings.starting_s)
    if item.row["name"] in world.settings.stuck:
        return
    await launch(world, project, workload, item.row["script"], item.environment)
    polled = 0.0
    while workload.pod.look(limited=world.settings.memory_limits) is None:
        await asyncio.sleep(LOOK_S)
        polled += LOOK_S
        if item.row["status"] == "APPLICATION_STARTING" and polled >= world.settings.polling_s:
            polled = 0.0
            if await _ready(world, item):
                item.row |= {"status": "APPLICATION_RUNNING", "running_at": world.stamp()}
    await finish(world, workload, "failed")
    item.row |= {"status": "APPLICATION_FAILED", "stopped_at": world.stamp(), "updated_at": world.stamp()}


async def _ready(world: World, item: Item) -> bool:
    """Whether it answers 200 where the platform polls it; its subdomain must lead to it."""
    first = _owner(world, item.row["subdomain"])
    if first is not item or item.workload is None:
        return False
    at = await item.workload.pod.answering()
    if at is None:
        return False
    path = item.environment.get(POLLING, "/")
    url = f"http://{at[0]}:{at[1]}/{path.lstrip('/')}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
            http.get(url, allow_redirects=False) as answer,
        ):
            return answer.status == 200  # noqa: PLR2004
    except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError):
        return False


async def _stop(world: World, item: Item, moment: float) -> None:
    if item.workload:
        await finish(world, item.workload, "stopped")
    await world.clock.until(moment)
    item.row |= {"status": "APPLICATION_STOPPED", "stopped_at": world.stamp(), "updated_at": world.stamp()}


async def _delete(world: World, project: Project, item: Item, moment: float) -> None:
    if item.task:
        await asyncio.wait([item.task])
    await world.clock.until(moment)
    project.applications.pop(item.row["id"], None)


def _is_gone(world: World, item: Item) -> bool:
    """Whether it is in no list any more; its processes may take a moment longer to end."""
    return item.gone is not None and item.gone <= world.clock.now()


def _cancel(item: Item) -> None:
    if item.task:
        item.task.cancel()


def _owner(world: World, subdomain: str) -> Item | None:
    found = owner(world, subdomain)
    return found[1] if found else None
