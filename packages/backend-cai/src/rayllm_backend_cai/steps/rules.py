"""What can't be is refused before anything is asked or made. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rayllm import ClusterSpec, InputError, Refusal
from rayllm.config.document import KeyPath, dotted
from rayllm_backend_cai import shared
from rayllm_backend_cai.node.ray_command import GB, OWN
from rayllm_backend_cai.options import CaiOptions, NodeOptions, WorkerOptions, WorkerRange

HEAD = "the head"
"""The head among the groups, in errors: no group can be called so."""
_OPTIONS = ("cluster", "options")
_SUBDOMAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 63
"""Letters of a part of a host name."""


def require_possible(spec: ClusterSpec, options: CaiOptions) -> None:
    """Whether this could be brought up at all: who has no file is told here.

    Raises:
        InputError: it could not.
    """
    for one in refusals(spec, options):
        raise InputError(f"{dotted(one.key)}: {one.message}", cure=one.cure)


def refusals(spec: ClusterSpec, options: CaiOptions) -> Iterator[Refusal]:
    """What no cluster with these options could be, whatever runs on it."""
    if options.bypass_authentication and not spec.keys_required:
        yield Refusal(
            key=(*_OPTIONS, "bypass_authentication"),
            message="it would open the endpoint to everybody: the file has no gateway.keys",
            cure="gateway.keys in the file, or without bypass_authentication: then the workspace's log-in is asked for",
        )
    if spec.gateway_tls:
        yield Refusal(
            key=("gateway", "tls"),
            message="not on Cloudera AI, where the workspace's ingress speaks HTTPS",
            cure="leave gateway.tls out",
        )
    where: KeyPath = (*_OPTIONS, "subdomain") if options.subdomain else ("name",)
    yield from _labels(where, subdomain_of(spec.name, options), "another cluster.options.subdomain")
    yield from _memory((*_OPTIONS, "head"), options.head)
    for group, workers in options.workers.items():
        key = (*_OPTIONS, "workers", group)
        last = shared.worker_name(spec.name, group, max(1, range_of(workers)[1]))
        yield from _labels(key, last, "a shorter or plainer name of the group, or of the deployment")
        yield from _memory(key, workers)


def require_names(name: str, group: str, count: int) -> None:
    """Whether a group can have so many workers by their names.

    Raises:
        InputError: the last one's name is no part of an address.
    """
    last = shared.worker_name(name, group, max(1, count))
    for one in _labels((), last, "fewer of them; or a shorter name of the group, or of the deployment"):
        raise InputError(one.message, cure=one.cure)


def subdomain_of(name: str, options: CaiOptions) -> str:
    """Where the endpoint is to be."""
    return options.subdomain or name


def range_of(workers: WorkerOptions) -> tuple[int, int]:
    """The fewest and the most workers of a group."""
    count = workers.count
    return (count.min, count.max) if isinstance(count, WorkerRange) else (count, count)


def _labels(key: KeyPath, label: str, cure: str) -> Iterator[Refusal]:
    """What is wrong with the name and subdomain of an application."""
    if not _SUBDOMAIN.fullmatch(label):
        rule = "it takes lower-case letters and digits, with single hyphens between them"
        yield Refusal(key=key, message=f'"{label}" can\'t be a part of an address: {rule}', cure=cure)
    elif len(label) > _LONGEST:
        yield Refusal(
            key=key, message=f'"{label}" is longer than the {_LONGEST} letters of an address\'s part', cure=cure
        )


def _memory(key: KeyPath, node: NodeOptions) -> Iterator[Refusal]:
    """What is wrong with the memory of a node."""
    if node.memory < OWN:
        own = f"{OWN / GB:g} GiB"
        yield Refusal(
            key=(*key, "memory"),
            message=f"{node.memory / GB:.3g} GiB is less than the {own} that Ray itself takes of a node",
            cure=f"at least {own}, and beside that what the node's models need",
        )
