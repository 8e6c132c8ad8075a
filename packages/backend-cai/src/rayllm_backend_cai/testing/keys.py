"""Who may ask the API."""

from __future__ import annotations

import re

from aiohttp import web

from rayllm_backend_cai.testing.replies import DENIED, INTERNAL, UNAUTHENTICATED, Refused
from rayllm_backend_cai.testing.route_helpers import world_of
from rayllm_backend_cai.testing.world import Key

_WHOLE = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{64}")


def key_of(request: web.Request) -> Key:
    """The key that a request shows.

    Raises:
        Refused: there is none, or it is not one for the API.
    """
    told = request.headers.get("authorization", "")
    if not told:
        raise Refused(401, UNAUTHENTICATED, 'no "authorization" header')
    key = told.removeprefix("Bearer ").strip()
    world = world_of(request)
    if not _WHOLE.fullmatch(key):
        status = world.settings.malformed_key_status
        raise Refused(status, INTERNAL if status == 500 else UNAUTHENTICATED, "malformed apikey")  # noqa: PLR2004
    known = world.keys.get(key)
    if known is None:
        raise Refused(401, UNAUTHENTICATED, "invalid apikey")
    if "API" not in known.audiences:
        raise Refused(403, DENIED, "audience mismatch")
    return known
