"""Projects and applications over HTTP."""

from __future__ import annotations

from aiohttp import web

from rayllm_backend_cai.testing import applications, projects
from rayllm_backend_cai.testing.listing import page
from rayllm_backend_cai.testing.replies import reply
from rayllm_backend_cai.testing.route_helpers import body_of, change, world_of
from rayllm_backend_cai.testing.schemas import APPLICATION, CREATE_APPLICATION, CREATE_PROJECT, PROJECT

routes = web.RouteTableDef()
_APPLICATIONS = "/api/v2/projects/{project}/applications"
_APPLICATION = _APPLICATIONS + "/{application:[^/:]+}"


@routes.get("/api/v2/projects")
async def list_projects(request: web.Request) -> web.Response:
    """Those of this user; all are."""
    world = world_of(request)
    return reply(page(world.shown(world.projects), "projects", request.query))


@routes.post("/api/v2/projects")
async def create_project(request: web.Request) -> web.Response:
    """Make one."""
    told = await body_of(request, CREATE_PROJECT)
    return reply(projects.create(world_of(request), told).row)


@routes.get("/api/v2/projects/{project}")
async def get_project(request: web.Request) -> web.Response:
    """One."""
    return reply(world_of(request).project(request.match_info["project"]).row)


@routes.patch("/api/v2/projects/{project}")
async def patch_project(request: web.Request) -> web.Response:
    """Change it."""
    world = world_of(request)
    project = world.project(request.match_info["project"])
    return reply(change(world, project, await body_of(request, PROJECT)))


@routes.delete("/api/v2/projects/{project}")
async def delete_project(request: web.Request) -> web.Response:
    """Delete it."""
    world = world_of(request)
    await projects.delete(world, world.project(request.match_info["project"]))
    return reply({})


@routes.get(_APPLICATIONS)
async def list_applications(request: web.Request) -> web.Response:
    """A project's."""
    world = world_of(request)
    project = world.project(request.match_info["project"])
    return reply(page(world.shown(project.applications), "applications", request.query))


@routes.post(_APPLICATIONS)
async def create_application(request: web.Request) -> web.Response:
    """Make and start one."""
    world = world_of(request)
    project = world.project(request.match_info["project"])
    return reply(applications.create(world, project, await body_of(request, CREATE_APPLICATION)).row)


@routes.get(_APPLICATION)
async def get_application(request: web.Request) -> web.Response:
    """One."""
    _, item = applications.find(world_of(request), **request.match_info)
    return reply(item.row)


@routes.patch(_APPLICATION)
async def patch_application(request: web.Request) -> web.Response:
    """Change it; a process that runs does not see it."""
    world = world_of(request)
    _, item = applications.find(world, **request.match_info)
    return reply(change(world, item, await body_of(request, APPLICATION)))


@routes.delete(_APPLICATION)
async def delete_application(request: web.Request) -> web.Response:
    """Delete it."""
    world = world_of(request)
    applications.delete(world, *applications.find(world, **request.match_info))
    return reply({})


@routes.post(_APPLICATION + ":stop")
async def stop_application(request: web.Request) -> web.Response:
    """Stop it."""
    world = world_of(request)
    _, item = applications.find(world, **request.match_info)
    applications.stop(world, item)
    return reply(item.row)


@routes.post(_APPLICATION + ":restart")
async def restart_application(request: web.Request) -> web.Response:
    """Start it anew."""
    world = world_of(request)
    project, item = applications.find(world, **request.match_info)
    await applications.restart(world, project, item)
    return reply(item.row)
