"""What the fake can do, as a small OpenAPI document of its own; the platform serves its own one openly, too."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from rayllm_backend_cai.testing import routes_account, routes_files, routes_jobs, routes_projects
from rayllm_backend_cai.testing.replies import reply

PATH = "/api/v2/swagger.json"
VERSION = "26.06.13"
"""The edition of the platform's API that the fake follows."""
routes = web.RouteTableDef()


@routes.get(PATH)
async def document(request: web.Request) -> web.Response:
    """Every path with its methods."""
    del request
    paths: dict[str, Any] = {}
    for module in (routes_projects, routes_jobs, routes_files, routes_account):
        for route in module.routes:
            if isinstance(route, web.RouteDef):
                path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
                summary = (route.handler.__doc__ or "").strip().splitlines()[0]
                told = {"summary": summary, "responses": {"200": {"description": "done"}}}
                paths.setdefault(path, {})[route.method.lower()] = told
    info = {"title": "a stand-in for Cloudera AI's API v2", "version": VERSION}
    return reply({"swagger": "2.0", "info": info, "paths": paths})
