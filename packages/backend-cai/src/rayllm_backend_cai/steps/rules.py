"""What can't be is refused before anything is asked or made. Pure."""

from __future__ import annotations

import re

from rayllm import ClusterSpec, InputError
from rayllm_backend_cai import shared
from rayllm_backend_cai.options import CaiOptions, WorkerOptions, WorkerRange

_SUBDOMAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 63
"""Letters of a part of a host name."""


def require_possible(spec: ClusterSpec, options: CaiOptions) -> None:
    """Whether this could be brought up at all.

    Raises:
        InputError: it could not.
    """
    if options.bypass_authentication and not spec.keys_required:
        raise InputError(
            "bypass_authentication would open the endpoint to everybody: the file has no gateway.keys",
            cure="gateway.keys in the file, or without bypass_authentication: then the workspace's log-in is asked for",
            topic="cai-key",
        )
    if spec.gateway_tls:
        raise InputError(
            "gateway.tls is for gateways that clients reach themselves: here the workspace's ingress speaks HTTPS",
            cure="leave gateway.tls out",
        )
    _require_label("cluster.options.subdomain", subdomain_of(spec.name, options), "cluster.options.subdomain: another")
    for group, workers in options.workers.items():
        last = shared.worker_name(spec.name, group, max(1, range_of(workers)[1]))
        _require_label(f"cluster.options.workers.{group}", last, "a shorter or plainer name of the group")


def subdomain_of(name: str, options: CaiOptions) -> str:
    """Where the endpoint is to be."""
    return options.subdomain or name


def range_of(workers: WorkerOptions) -> tuple[int, int]:
    """The fewest and the most workers of a group."""
    count = workers.count
    return (count.min, count.max) if isinstance(count, WorkerRange) else (count, count)


def _require_label(where: str, label: str, cure: str) -> None:
    if not _SUBDOMAIN.fullmatch(label):
        raise InputError(
            f"{where}: {label!r} can't be a part of an address",
            cause="lower-case letters and digits, with single hyphens between them",
            cure=cure,
        )
    if len(label) > _LONGEST:
        raise InputError(f"{where}: {label!r} is longer than the {_LONGEST} letters of an address's part", cure=cure)
