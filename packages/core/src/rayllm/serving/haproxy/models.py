"""The ways to a model: its replicas' engines, and Serve's own proxy while none is known or reachable."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from rayllm.serving.haproxy import bodies, ingress
from rayllm.serving.haproxy.answers import FALLBACK_AFTER_S, RETRY_AFTER_S, OpenAiError, retry_later
from rayllm.serving.haproxy.endpoints import allowed
from rayllm.serving.haproxy.guard import ABSENT
from rayllm.serving.haproxy.places import ADMIN_SOCKET, NEXT_SOCKET, SERVE_SOCKET
from rayllm.serving.haproxy.text import address, section
from rayllm.serving.haproxy.view import GatewayView, ModelRoute
from rayllm.serving.spec import INTERNAL_KEY_HEADER, route_prefix

DOORS_FILE = "doors.map"
"""`MODEL KEY`: each model's internal key. A file of its own, so that the configuration holds no secret."""
_MODEL_HEADER = "x-rayllm-model"
"""Names the model on the hop to Serve's proxy."""
_SESSION_HEADER = "x-session-id"
_MOST_LOAD = 200
_SERVE = "serve"
_CHECKS_PER_S = 150
_LEAST_PAUSE_S = 2
_TRIES = 10
"""Replicas that may refuse the connection, one after the other; each is out of the rotation from then on."""


def backend_of(model: str) -> str:
    """Name of the backend with the model's replicas."""
    return f"model:{model}"


def maps(view: GatewayView) -> dict[str, str]:
    """The file with the internal keys."""
    return {DOORS_FILE: "".join(f"{route.model} {route.key}\n" for route in sorted(view.routes, key=_name))}


def sections(view: GatewayView) -> list[str]:
    """What all models share, then one section for each of them."""
    pause_s = _pause_s(sum(len(route.upstreams) for route in view.routes))
    routes = sorted(view.routes, key=_name)
    ray = [ingress.backend(view.ingress.dashboard)] if view.ingress.dashboard else []
    return [_next_worker(), _to_serve(), _serve(view), _admin(), *ray, *(_model(route, pause_s) for route in routes)]


def _name(route: ModelRoute) -> str:
    return route.model


def _pause_s(servers: int) -> int:
    """Seconds between two looks at a replica that answers, in steps: not every new replica changes it for all.

    The looks of all replicas together stay below a bound, so what they cost does not grow with their number. A replica
    that fails is noticed by its first request, and then looked at twice a second.
    """
    pause = _LEAST_PAUSE_S
    while servers > pause * _CHECKS_PER_S:
        pause *= 2
    return pause


def _servers(route: ModelRoute) -> Iterator[str]:
    """The replicas; each has the same number in every configuration, so consistent hashing stays as it is."""
    taken = set[int]()
    for upstream in sorted(route.upstreams, key=lambda upstream: upstream.replica):
        number = zlib.crc32(upstream.replica.encode()) >> 1 or 1
        while number in taken:
            number += 1
        taken.add(number)
        yield f"server {upstream.server} {address(upstream.host, upstream.port)} id {number}"


def _balance(route: ModelRoute) -> Iterator[str]:
    """Which replica is next.

    Consistent hashing with a bounded load: who has `_MOST_LOAD` percent of the average is passed over, so that a
    beginning that all conversations share does not pile up at one replica, and a replica that comes or goes moves only
    its share. What has nothing to hash goes anywhere, within the same bound.
    """
    if route.balance == "least_outstanding":
        yield "balance leastconn"
        return
    if route.balance == "session":
        session = f"req.fhdr({_SESSION_HEADER})"
        yield f"http-request set-var(txn.affinity) {session} if {{ {session} -m found }}"
    # What is named by its path has a body of any kind, which is not waited for.
    yield (
        "http-request set-var(txn.affinity) req.body,lua.rayllm_affinity "
        "unless { var(txn.affinity) -m found } || { var(txn.by_path) -m bool }"
    )
    yield "http-request set-var(txn.affinity) uuid() unless { var(txn.affinity) -m len gt 0 }"
    yield "balance hash var(txn.affinity)"
    yield "hash-type consistent crc32 avalanche"
    yield f"hash-balance-factor {_MOST_LOAD}"


def _bounded(route: ModelRoute) -> Iterator[str]:
    """Rules that turn a request away where too many wait already."""
    full = OpenAiError(429, f"too many requests wait for the model {route.model}", "overloaded", retry_after_s=5)
    yield f"http-request return {full.answer()} if {{ queue ge {max(route.max_queue, 1)} }}"
    if not route.max_queue:
        yield f"http-request return {full.answer()} if {{ be_conn_free eq 0 }}"


def _guarded(route: ModelRoute) -> bool:
    return any(upstream.guarded for upstream in route.upstreams)


def _for_guards(route: ModelRoute) -> Iterator[str]:
    """Rules where a replica is on another machine.

    They are about the model, not about the replica that is chosen after them: one on this machine, whose engine is no
    stranger to its model's key, gets it too.
    """
    if _guarded(route):
        after_s = FALLBACK_AFTER_S if route.fallback else RETRY_AFTER_S
        failed = retry_later(f"no replica of the model {route.model} can answer right now", after_s)
        yield f"http-request set-header {INTERNAL_KEY_HEADER} %[str({route.model}),map_str({DOORS_FILE})]"
        yield f"http-response return {failed.answer()} if {{ status {ABSENT} }}"


def _for_fallback(route: ModelRoute) -> Iterator[str]:
    """The request that finds the last replica dead can't go to the fallback, but the next one does.

    A backup server for it would count as one of the model's own in `nbsrv`, by which `naming` finds who is down, and
    the body was made for this model already: its name, and whether its engine is asked for usage.
    """
    if route.fallback:
        yield f"http-after-response set-header retry-after {FALLBACK_AFTER_S} if {{ status 503 }} {{ nbsrv eq 0 }}"


def _model(route: ModelRoute, pause_s: int) -> str:
    def lines() -> Iterator[str]:
        yield from bodies.filters()
        yield from _balance(route)
        yield from allowed(route)
        yield from _bounded(route)
        yield from _for_guards(route)
        yield from _for_fallback(route)
        yield f"http-request set-header {_MODEL_HEADER} {route.model}"
        # Only a connection that could not be made is tried elsewhere: a request that was sent may be at work already.
        yield "option redispatch 1"
        yield f"retry-on conn-failure{f' {ABSENT}' if _guarded(route) else ''}"
        yield f"retries {_TRIES}"
        yield (
            "default-server check observe layer4 error-limit 1 on-error mark-down "
            f"inter {pause_s}s fastinter 500ms downinter 500ms rise 1 fall 2 maxconn {route.max_ongoing}"
        )
        if route.adapters:
            yield "use-server %[var(txn.holder)] if { var(txn.holder) -m found }"
        yield from _servers(route)
        if not route.fallback:
            yield f"server serve-proxy unix@{SERVE_SOCKET} no-check backup"

    return section(f"backend {backend_of(route.model)}", lines())


def _next_worker() -> str:
    """After a reload the old worker keeps idle connections, but what comes over them is for the new one to judge."""
    return section("backend next-worker", iter([f"server next unix@{NEXT_SOCKET}"]))


def _to_serve() -> str:
    """The way to Serve's proxy is a second hop, since a backup server can't have rules of its own."""

    def lines() -> Iterator[str]:
        yield f"bind unix@{SERVE_SOCKET} mode 600"
        yield f"use_backend {_SERVE}"

    return section("frontend to-serve", lines())


def _serve(view: GatewayView) -> str:
    failed = retry_later("no replica of the model %[var(txn.model)] can answer right now")

    def lines() -> Iterator[str]:
        yield f"http-request set-var(txn.model) req.hdr({_MODEL_HEADER})"
        yield f"http-request del-header {_MODEL_HEADER}"
        yield f"http-request set-header {INTERNAL_KEY_HEADER} %[var(txn.model),map_str({DOORS_FILE})]"
        yield f"http-request set-path {route_prefix(view.deployment, '%[var(txn.model)]')}%[path]"
        yield f"http-error {failed.answer()}"
        # Serve's own errors are plain text, what an engine says is JSON.
        yield (
            f"http-response return {failed.answer()} "
            "if { status ge 400 } !{ res.hdr(content-type) -m beg application/json }"
        )
        yield "retries 1"
        yield f"server serve {address('127.0.0.1', view.serve_port)}"

    return section(f"backend {_SERVE}", lines())


def _admin() -> str:
    absent = retry_later("RayLLM's admin API is not running")

    def lines() -> Iterator[str]:
        yield "retries 0"
        yield f"http-error {absent.answer()}"
        yield f"server admin unix@{ADMIN_SOCKET}"

    return section("backend rayllm-admin", lines())
