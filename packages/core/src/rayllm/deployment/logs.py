"""What a model's engine wrote, and what went wrong at the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import dataclass

from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.observing import look
from rayllm.deployment.session import Session
from rayllm.deployment.status import ModelStatus, Status
from rayllm.errors import ClusterError, InputError
from rayllm.serving.directory.state import PREPARES

LINES = 200
"""How many of the last lines are shown where nothing is said."""
GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Log:
    """One file in Ray's log folder on a node."""

    node: str
    file: str
    replica: str = ""
    """Whose it is: each replica starts its engine once, into a file of its own."""
    at: float = 0.0
    """When the replica began its phase, or failed, in seconds since 1970."""
    state: str = ""
    """The replica's phase, or `failed`."""


def find_log(session: Session, model: str, replica: str | None, *, last_start: bool) -> Log:
    """Where the log is that is asked for.

    Raises:
        InputError: the file has no such model, or the model no such replica, or several of that beginning.
        ClusterError: the cluster is not ready, or no engine has started yet.
    """
    if model == GATEWAY and GATEWAY not in session.checked.config.models:
        if replica or last_start:
            raise InputError("the gateway has one log, and no engine that starts", cure="rayllm logs gateway")
        return _gateway_log(look(session))
    session.require_model(model)
    part = look(session).models.get(model)
    logs = logs_of(part) if part else []
    if replica:
        return _named(logs, model, replica)
    if not logs:
        raise ClusterError(
            f"no engine of {model} has started yet", cure=f"see what it waits for: rayllm status {model}"
        )
    return newest(logs, last_start=last_start)


def read_log(session: Session, log: Log, *, lines: int, follow: bool) -> Generator[str, None, None]:
    """The last `lines` lines in pieces of text, and with `follow` what is added."""
    with ServeApi.of(session.find_ready()) as api:
        if follow:
            yield from api.follow_log(log.node, log.file, lines=lines)
        else:
            yield api.log(log.node, log.file, lines=lines)


async def read_log_async(session: Session, log: Log, *, lines: int, follow: bool) -> AsyncGenerator[str, None]:
    """As `read_log`; cancelling ends it."""
    if not follow:
        for text in await asyncio.to_thread(lambda: list(read_log(session, log, lines=lines, follow=False))):
            yield text
        return
    with ServeApi.of(await asyncio.to_thread(session.find_ready)) as api:
        async with aclosing(api.follow_log_async(log.node, log.file, lines=lines)) as texts:
            async for text in texts:
                yield text


def lines_of(lines: int | None, *, last_start: bool) -> int:
    """How many lines are meant where nothing is said: a whole start, else the last few."""
    if lines is not None:
        return lines
    return -1 if last_start else LINES


def newest(logs: list[Log], *, last_start: bool) -> Log:
    """The log of the newest replica that lives, else of the last that failed; with `last_start` whichever came last."""
    live = [log for log in logs if log.state != "failed"]
    return max(logs if last_start or not live else live, key=lambda log: log.at)


def logs_of(part: ModelStatus) -> list[Log]:
    """The logs of a model's engines that started, with that of the last one that failed."""
    found = {
        replica.replica: Log(replica.node, replica.log, replica.replica, replica.since, replica.phase)
        for replica in part.replicas
        if replica.phase not in PREPARES
    }
    for failure in (part.past, part.failure):
        if failure and failure["log"] and failure["replica"] not in found:
            found[failure["replica"]] = Log(
                failure["node"], failure["log"], failure["replica"], failure["at"], "failed"
            )
    return list(found.values())


def _named(logs: list[Log], model: str, replica: str) -> Log:
    """The log of the one replica whose id begins so."""
    fitting = [log for log in logs if log.replica.startswith(replica)]
    exact = [log for log in fitting if log.replica == replica]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    there = ", ".join(f"{log.replica} ({log.state})" for log in sorted(fitting or logs, key=lambda log: -log.at))
    what = f"several replicas whose id begins with {replica!r}" if fitting else f"no replica {replica!r} with a log"
    raise InputError(f"{model} has {what}", cure=f"newest first: {there}" if there else None)


def _gateway_log(status: Status) -> Log:
    if head := next((node for node in status.nodes if node.head and node.state == "alive"), None):
        return Log(head.id, f"rayllm/{status.name}--gateway.log")
    raise ClusterError(f"Ray lists no head node, where the gateway of {status.name} runs", cure="rayllm status")
