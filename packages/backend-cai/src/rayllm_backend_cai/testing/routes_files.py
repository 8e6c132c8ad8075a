"""A project's files over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from pathlib import Path

from aiohttp import BodyPartReader, web

from rayllm_backend_cai.testing.replies import absent, bad, reply
from rayllm_backend_cai.testing.route_helpers import world_of
from rayllm_backend_cai.testing.world import Json

routes = web.RouteTableDef()
_FILES = "/api/v2/projects/{project}/files"
_FILE = _FILES + "/{path:.+}"


def _inside(request: web.Request, path: str) -> Path:
    """Where a path of the API is on disk.

    Raises:
        Refused: outside of the project.
    """
    folder = world_of(request).project(request.match_info["project"]).folder
    if ".." in path.split("/"):
        raise bad(f"invalid path {path}")
    return folder / path.strip("/")


def _there(request: web.Request) -> Path:
    place = _inside(request, request.match_info["path"])
    if not place.exists():
        raise absent(f"file {request.match_info['path']}")
    return place


def _told(place: Path) -> Json:
    size = 0 if place.is_dir() else place.stat().st_size
    return {"path": place.name, "is_dir": place.is_dir(), "file_size": str(size)}


@routes.get(_FILE)
async def list_files(request: web.Request) -> web.Response:
    """What is in a folder: names alone, all at once."""
    place = _there(request)
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    return reply({"files": [_told(one) for one in found]})


@routes.post(_FILES)
async def upload(request: web.Request) -> web.Response:
    """Store each field's content at the path that is its name, or beside what is there."""
    _inside(request, "")
    form = await request.multipart()
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader) or not part.name:
            raise bad("a field of the form has no name")
        place = _inside(request, part.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        tries = (place.with_name(f"{place.stem}({number}){place.suffix}") for number in itertools.count(1))
        free = next(one for one in itertools.chain([place], tries) if not one.exists())
        free.write_bytes(await part.read())
    return web.Response()


@routes.post(_FILE + ":download")
async def download(request: web.Request) -> web.Response:
    """A file's content."""
    place = _there(request)
    if place.is_dir():
        raise bad(f"{request.match_info['path']} is a folder")
    return web.Response(body=place.read_bytes(), content_type="application/octet-stream")


@routes.patch(_FILE)
async def rename(request: web.Request) -> web.Response:
    """Give it another path."""
    place = _there(request)
    told = json.loads(await request.text() or "{}").get("path")
    if not isinstance(told, str) or not told:
        raise bad("path must be specified")
    to = _inside(request, told)
    to.parent.mkdir(parents=True, exist_ok=True)
    place.rename(to)
    return reply(_told(to))


@routes.delete(_FILE)
async def delete(request: web.Request) -> web.Response:
    """Delete a file or folder."""
    place = _there(request)
    if place.is_dir():
        await asyncio.to_thread(shutil.rmtree, place)
    else:
        place.unlink()
    return reply({})
