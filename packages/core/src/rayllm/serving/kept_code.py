"""The code packages of a deployment, kept in the cluster for as long as its gateway runs.

Ray deletes a package when the last actor that names it ends, unless it was uploaded within ten minutes. A model at zero
has no actor, one whose only node died has none for a while: its code would be gone, and no other node could start it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

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


def _pin(uri: str) -> None:
    # What Ray's own uploads call. It is not documented, so another Ray may lack it: then all else goes on.
    from ray.experimental.internal_kv import _pin_runtime_env_uri

    _pin_runtime_env_uri(uri, expiration_s=KEPT_S)
