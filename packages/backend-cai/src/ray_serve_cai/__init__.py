"""The calls of the earlier tool, ray-serve-cai, on top of RayLLM: for programs that are not changed yet.

It goes with RayLLM 0.3. Each call warns (`DeprecationWarning`) with the one that takes its place, and tells there what
of its arguments says nothing any more. Of the old package, there are `RayBackend`, `ray_backend` and
`CAIClusterManager`; all else raises `GoneError` with what to do. Ray is not needed here.
"""

from __future__ import annotations

from ray_serve_cai.cai_cluster import CAIClusterManager
from ray_serve_cai.gone import GONE, GoneError
from ray_serve_cai.ray_backend import RayBackend, ray_backend

__all__ = ["CAIClusterManager", "RayBackend", "ray_backend"]


def __getattr__(name: str) -> object:
    """Tell what became of a name of the old package."""
    if name in GONE:
        raise GoneError(name)
    raise AttributeError(f"module 'ray_serve_cai' has no attribute {name!r}")
