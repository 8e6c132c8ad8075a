"""What the API's routes share."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from rayllm_backend_cai.testing.replies import bad
from rayllm_backend_cai.testing.schemas import Schema, read
from rayllm_backend_cai.testing.world import Item, Json, World

WORLD = web.AppKey("world", World)
KEPT = frozenset({"id", "status", "creator", "owner", "project", "permissions", "created_at", "creation_status"})
"""Fields of a row that no PATCH changes."""


def world_of(request: web.Request) -> World:
    """The workspace that a request is for."""
    return request.app[WORLD]


async def body_of(request: web.Request, schema: Schema) -> Json:
    """The known fields of a request's body, which may be empty.

    Raises:
        Refused: it is no JSON, or a field has another type.
    """
    text = await request.text()
    try:
        told: Any = json.loads(text or "{}")
    except ValueError:
        raise bad("invalid JSON in the body") from None
    return read(schema, told)


def change(world: World, item: Item, told: Json, ignored: frozenset[str] = frozenset()) -> Json:
    """Change the keys that stand in a PATCH, and no others."""
    item.row |= {name: value for name, value in told.items() if name not in KEPT | ignored}
    item.row["updated_at"] = world.stamp()
    return item.row
