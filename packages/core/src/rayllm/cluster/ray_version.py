"""Which versions of Ray RayLLM's code runs on. The `[serve]` extra pins what a cluster that RayLLM makes gets."""

from __future__ import annotations

import re

from rayllm.errors import ClusterError

OLDEST = (2, 60)
"""The version that the tests run with, and the first that this range promises."""
NEXT_MAJOR = (3, 0)
"""Ray may change what it documents from here on."""


def require_supported(version: str, address: str) -> None:
    """Check a cluster's Ray.

    Args:
        version: as its dashboard tells it: `2.60.0`.
        address: the dashboard's, for the error.

    Raises:
        ClusterError: it is older or newer than what RayLLM works with.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found or not OLDEST <= (int(found[1]), int(found[2])) < NEXT_MAJOR:
        ours = f"{OLDEST[0]}.{OLDEST[1]} or newer, below {NEXT_MAJOR[0]}"
        wanted = f"ray[serve]>={OLDEST[0]}.{OLDEST[1]},<{NEXT_MAJOR[0]}"
        raise ClusterError(
            f"the Ray cluster at {address} runs Ray {version}; RayLLM works with {ours}",
            cure=f'install it on every node of the cluster: pip install "{wanted}"',
            topic="ray-version",
        )
