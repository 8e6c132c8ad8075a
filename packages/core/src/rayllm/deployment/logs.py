"""What a model's engine wrote."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.session import Session
from rayllm.deployment.status import log_of, look
from rayllm.errors import ClusterError


def read_log(session: Session, model: str, *, lines: int, follow: bool) -> Iterator[str]:
    """The last `lines` lines in pieces of text, and with `follow` what is added.

    Raises:
        InputError: the file has no such model.
        ClusterError: the cluster is not ready, or no engine has started yet.
    """
    session.require_model(model)
    cluster = session.find_ready()
    status = look(session)
    place = log_of(status.models[model]) if model in status.models else None
    if place is None:
        raise ClusterError(f"no engine of {model} has started yet", cure="see what it waits for: rayllm status")
    return _read(ServeApi.of(cluster), *place, lines=lines, follow=follow)


def _read(api: ServeApi, node: str, filename: str, *, lines: int, follow: bool) -> Iterator[str]:
    with api:
        if follow:
            yield from api.follow_log(node, filename, lines=lines)
        else:
            yield api.log(node, filename, lines=lines)
