"""The head among a cluster's applications, where nothing goes on without it."""

from __future__ import annotations

from collections.abc import Iterable

from rayllm import ClusterError
from rayllm_backend_cai import endings
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import ENDED
from rayllm_backend_cai.steps.nodes import Place, head_of


def require_head(place: Place, applications: Iterable[Application]) -> Application:
    """The head, which starts or runs.

    Raises:
        ClusterError: it has ended or is gone; with why, as far as somebody knows.
    """
    head = head_of(applications)
    if head is None:
        raise ClusterError(
            f"the application {place.name} has vanished",
            cause="somebody else deleted it meanwhile",
            cure="rayllm up",
            topic="cai-application",
        )
    if head.status in ENDED:
        raise ClusterError(
            f"the head of {place.name} has {'ended' if head.status == 'failed' else 'been stopped'}",
            cause=endings.explained(place.client, place.project, place.name, head),
            cure="mend what the cause names, then: rayllm up. The application's whole log stands in the workspace",
            topic="cai-application",
        )
    return head
