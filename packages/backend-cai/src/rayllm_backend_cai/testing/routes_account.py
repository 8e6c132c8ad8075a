"""What a workspace offers and uses, over HTTP."""

from __future__ import annotations

from aiohttp import web

from rayllm_backend_cai.testing.keys import key_of
from rayllm_backend_cai.testing.listing import page
from rayllm_backend_cai.testing.replies import DENIED, UNIMPLEMENTED, Refused, reply, stamp
from rayllm_backend_cai.testing.route_helpers import body_of, world_of
from rayllm_backend_cai.testing.schemas import STR
from rayllm_backend_cai.testing.world import USER, Json, Workload, World

routes = web.RouteTableDef()


@routes.post("/api/v2/auth/validate_key")
async def validate_key(request: web.Request) -> web.Response:
    """Whose key it is."""
    told = await body_of(request, {"audience": STR})
    key = key_of(request)
    if told.get("audience", "API") not in key.audiences:
        raise Refused(403, DENIED, "audience mismatch")
    return reply({"valid": True, "username": key.username, "message": "API key is valid for the given audience"})


@routes.get("/api/v2/runtimes")
async def runtimes(request: web.Request) -> web.Response:
    """Images."""
    return reply(page(world_of(request).runtimes, "runtimes", request.query))


@routes.get("/api/v2/runtimeaddons")
async def runtime_addons(request: web.Request) -> web.Response:
    """What may be added to images."""
    return reply(page(world_of(request).addons, "runtime_addons", request.query))


@routes.get("/api/v2/nodelabels")
async def node_labels(request: web.Request) -> web.Response:
    """Kinds of accelerators."""
    return reply(page(world_of(request).node_labels, "accelerator_node_label", request.query))


@routes.get("/api/v2/cpuprofiles")
async def cpu_profiles(request: web.Request) -> web.Response:
    """Not in every installation, nor in this one."""
    del request
    raise Refused(501, UNIMPLEMENTED, "Operation is not supported")


@routes.get("/api/v2/workloads/executions")
async def executions(request: web.Request) -> web.Response:
    """For a special kind of user."""
    del request
    raise Refused(403, DENIED, "User is not an observability machine user")


@routes.get("/api/v2/workloadstatus")
async def workload_status(request: web.Request) -> web.Response:
    """Words that usage is filtered by."""
    del request
    words = ["scheduling", "starting", "running", "stopping", "stopped", "succeeded", "failed", "timedout"]
    return reply({"workload_status": words})


@routes.get("/api/v2/workloadtypes")
async def workload_types(request: web.Request) -> web.Response:
    """Words that usage is filtered by."""
    del request
    return reply({"workload_type": ["Application", "Job"]})


@routes.get("/api/v2/usersquota")
async def users_quota(request: web.Request) -> web.Response:
    """What the user may have and has; amounts are text."""
    world = world_of(request)
    running = [one for one in world.workloads if one.finished is None and one.status != "scheduling"]
    names = ("cpu", "memory", "nvidia_gpu")
    used = {name: f"{sum(getattr(one, name) for one in running):g}" for name in names}
    limits = {name: f"{getattr(world.settings.limits, name):g}" for name in names}
    told = {"user": {"id": 1, "name": USER.upper(), "user_name": USER}, "quota_usage": used}
    rows = [{**told, "quota_configured": {name: value for name, value in limits.items() if value != "inf"}}]
    return reply({**page(rows, "user_quota", request.query), "total_count": "1"})


@routes.get("/api/v2/usage")
async def usage(request: web.Request) -> web.Response:
    """Workloads, with how they ended."""
    world = world_of(request)
    rows = [_used(world, one) for one in world.workloads]
    return reply({**page(rows, "usage_response", request.query), "total_count": str(len(rows))})


def _used(world: World, one: Workload) -> Json:
    end, project = one.end, world.projects.get(one.project)
    code = end.exit_code if end else 0
    message = "" if end is None else "Out of memory" if end.oom_killed else "" if not code else f"Engine exited {code}"
    k8s = {"k8s_exit_code": code, "k8s_signal": "", "k8s_reason": end.reason if end else "", "k8s_message": ""}
    told = {"name": one.name, "creator": USER, "project_name": project.row["name"] if project else ""}
    told |= {"workload_type": one.kind, "status": one.status, "id": one.pod.engine, "message": message}
    seconds = int((one.finished or world.clock.now()) - one.created)
    told |= {"workload_url": f"http://{world.domain}/engines/{one.pod.engine}", "duration": str(seconds)}
    amounts: Json = {"cpu": one.cpu, "memory": one.memory, "nvidia_gpu": one.nvidia_gpu}
    ended: Json = {"oom_killed": bool(end and end.oom_killed), "k8s_info": k8s, "created_at": stamp(one.created)}
    return {**told, **amounts, **ended}
