"""The code packages of a deployment, kept in the cluster for as long as its gateway runs.

Ray deletes a package when the last actor that names it ends, unless it was uploaded within ten minutes. A model at zero
has no actor, one whose only node died has none for a while: its code would be gone, and no other node could start it.

A GCS that was started again has forgotten who names what and what was asked for: until a gateway is back, it keeps what
whoever started it has asked for (`keep_all`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)
KEPT_S = 3600
"""How long Ray keeps a package after the last renewal: as long as a cluster may be without its gateway."""
RENEW_S = 30.0
"""How often that is renewed: a GCS that was started again has forgotten it."""


async def keep(uris: Iterable[str]) -> None:
    """Ask Ray to keep these packages, until cancelled."""
    while True:
        for uri in uris:
            try:
                await asyncio.to_thread(_pin, uri)
            except Exception:
                logger.exception("the code package %s could not be renewed", uri)
        await asyncio.sleep(RENEW_S)


def keep_all(gcs: Any) -> None:
    """Ask Ray to keep all code packages that it has, once: by who starts a head on the records of an earlier one.

    Of such a head all nodes and actors are dead. The first ones that start and end again, before there is a gateway,
    would take the packages with them, and nothing could start any more.

    Args:
        gcs: Ray's own client of the GCS.
    """
    try:
        for uri in gcs.internal_kv_keys(b"gcs://", None):
            gcs.pin_runtime_env_uri(uri.decode(), KEPT_S)
    except Exception:  # not documented, so another Ray may lack it: then all else goes on
        logger.exception("the code packages could not be renewed")


def _pin(uri: str) -> None:
    # What Ray's own uploads call. It is not documented, so another Ray may lack it: then all else goes on.
    from ray.experimental.internal_kv import _pin_runtime_env_uri

    _pin_runtime_env_uri(uri, expiration_s=KEPT_S)
