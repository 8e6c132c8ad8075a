"""A Ray cluster on this machine for RayLLM: the backend `local`."""

from __future__ import annotations

from collections.abc import Iterable

from rayllm import Backend, Check, ClusterBackend, hookimpl
from rayllm_backend_local.options import LocalOptions


def open_local(options: LocalOptions) -> ClusterBackend:
    """Open the backend; what it needs is imported only now."""
    from rayllm_backend_local.backend import LocalBackend

    return LocalBackend(options)


def check_local(options: LocalOptions) -> Iterable[Check]:
    """What `doctor` asks before a cluster is started."""
    from rayllm_backend_local.checks import checks

    return checks(options)


@hookimpl
def rayllm_backends() -> Iterable[Backend[LocalOptions]]:
    """Offer the backend `local`."""
    return [
        Backend(
            name="local",
            summary="a Ray cluster on this machine, running in the background",
            options=LocalOptions,
            open=open_local,
            check=check_local,
            capabilities={"create", "this-machine"},
        )
    ]
