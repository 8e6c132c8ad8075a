"""Telling a platform's ingress from the cluster behind it, by what it answers instead."""

from __future__ import annotations

import httpx

from rayllm.cluster.connection import UnreachableError
from rayllm.errors import ClusterError

_REFUSED = frozenset({401, 403})


def ingress_error(answer: httpx.Response) -> ClusterError | None:
    """The error for what an ingress answered; None where the cluster itself did.

    An ingress speaks with web pages or has nothing to say: Ray, Serve and the gateway write text or JSON.

    Args:
        answer: to a request that carried `Cluster.headers`; its body has been read if it is an error.
    """
    page = "html" in answer.headers.get("content-type", "")
    silent = answer.is_error and not answer.content
    if not (page or silent or answer.is_redirect):
        return None
    url, status = answer.request.url.copy_with(query=None), answer.status_code
    if answer.is_server_error:
        return UnreachableError(
            f"nobody answers behind the platform's ingress at {url} (HTTP {status})",
            cause="the program on the head node does not run, or does not listen yet",
            cure="ask again in a moment; what the platform says of the nodes: rayllm nodes list",
            topic="ingress",
        )
    if answer.is_error and status not in _REFUSED:
        return ClusterError(
            f"the platform's ingress leads {url} nowhere (HTTP {status})",
            cause="the platform has no application at this address",
            cure="rayllm up",
            topic="ingress",
        )
    asks = "refuses the key that it was shown" if status in _REFUSED else "asks for a log-in, whatever it was shown"
    return ClusterError(
        f"the platform's ingress does not let this machine through to {url} (HTTP {status})",
        cause=f"it {asks}; the cluster was not asked",
        cure="give a key of the platform that is valid, and meant for its applications: rayllm doctor looks at it",
        topic="ingress",
    )
