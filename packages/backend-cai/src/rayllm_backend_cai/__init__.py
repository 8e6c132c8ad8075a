"""Cloudera AI (CAI, formerly CML) for RayLLM: the backend `cai`, a client of the API, a stand-in for the platform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rayllm import Backend, Check, ClusterBackend, ClusterSpec, Refusal, hookimpl
from rayllm_backend_cai.options import CaiOptions

if TYPE_CHECKING:
    from rayllm.config.schema import ModelConfig


def open_cai(options: CaiOptions) -> ClusterBackend:
    """Open the backend; what it needs is imported only now, and nothing is asked."""
    from rayllm_backend_cai.backend import CaiBackend

    return CaiBackend(options)


def check_cai(options: CaiOptions) -> Iterable[Check]:
    """What `doctor` asks of the workspace."""
    from rayllm_backend_cai.checks import checks

    return checks(options)


def endpoint_of(options: CaiOptions, name: str) -> str:
    """Where a workspace has an application of this subdomain."""
    from rayllm_backend_cai.checks import workspace_of
    from rayllm_backend_cai.steps.rules import subdomain_of

    return workspace_of(options).application_url(subdomain_of(name, options))


def refuse_cai(options: CaiOptions, spec: ClusterSpec, models: Mapping[str, ModelConfig]) -> Iterator[Refusal]:
    """What no cluster with these options could be, and models that none of its nodes could hold."""
    from rayllm_backend_cai.steps.fitting import misfits
    from rayllm_backend_cai.steps.rules import refusals

    yield from refusals(spec, options)
    yield from misfits(options, models)


@hookimpl
def rayllm_backends() -> Iterable[Backend[CaiOptions]]:
    """Offer the backend `cai`."""
    return [
        Backend(
            name="cai",
            summary="applications of a Cloudera AI workspace, which are the nodes of a Ray cluster",
            options=CaiOptions,
            open=open_cai,
            check=check_cai,
            endpoint=endpoint_of,
            refuse=refuse_cai,
            capabilities={"create", "nodes", "prepares"},
        )
    ]
