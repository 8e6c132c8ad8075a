"""Bodies that are too large to be read where they arrive.

They go through a Unix socket to a HAProxy of their own, with a buffer that holds the largest one and a single thread.
It reads the whole body, finds the model's name with the same Lua, and sends the request back through another Unix
socket, with what it has found in headers: there the gateway goes on as with any other. So the gateway's own buffers
stay small, and no scan of 64 MiB keeps its streams waiting. Keys and limits are checked before any of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy import scripts
from rayllm.serving.haproxy.answers import OpenAiError, default_errors, retry_later
from rayllm.serving.haproxy.limits import (
    HEADERS,
    HUGE_BODIES,
    HUGE_BODY_S,
    LARGE_BODIES,
    LARGE_BODY,
    LARGE_BODY_S,
)
from rayllm.serving.haproxy.places import LARGE_SOCKET, SIZED_SOCKET
from rayllm.serving.haproxy.text import section
from rayllm.serving.haproxy.view import GatewayView

_BODY = "x-rayllm-body"
_BEGAN = "x-rayllm-began"
_KEY = "x-rayllm-key"
_RULE = "x-rayllm-rule"
_AFFINITY = "x-rayllm-affinity"
_SIZED = "x-rayllm-sized"
"""In a response: it has a line in the log already."""
_BACKEND = "large"
_MOST_WAITING = 256
_ROOM = 2 * HEADERS
"""Bytes of a buffer beside the largest body: its headers, and what HAProxy keeps free."""


def too_large(view: GatewayView) -> OpenAiError:
    """413, with the limit."""
    most = f"{view.max_body / (1 << 20):g} MiB"
    return OpenAiError(413, f"the request body is larger than {most}, the most that is taken here", "body_too_large")


def hand_over() -> Iterator[str]:
    """Rules for a large body (the ACL `large`), last of those that it meets in the first front door.

    It has its line in the log where it is routed; here only if it did not come so far.
    """
    yield f"http-request set-header {_BEGAN} %[var(txn.began)] if large"
    yield f"http-request set-header {_KEY} %[var(txn.key)] if large"
    yield f"http-request set-header {_RULE} %[var(txn.rule)] if large"
    yield f"http-after-response set-log-level silent if {{ res.hdr({_SIZED}) -m found }}"
    yield f"http-after-response del-header {_SIZED}"
    yield "http-request allow if large"


def handed_over() -> Iterator[str]:
    """Where such a request goes."""
    yield f"use_backend {_BACKEND} if large"


def take_over() -> Iterator[str]:
    """Rules of the second front door: what is known of the request already, in variables as in the first one."""
    yield f"bind unix@{SIZED_SOCKET} mode 600"
    yield f"http-request set-var(txn.began) req.fhdr({_BEGAN}),add(0)"
    for header, name in ((_KEY, "key"), (_RULE, "rule")):
        yield f"http-request set-var(txn.{name}) req.fhdr({header}) if {{ req.fhdr({header}) -m len gt 0 }}"
    for header, name in ((_BODY, "body"), (_AFFINITY, "affinity")):
        yield f"http-request set-var(txn.{name}) req.fhdr({header}),b64dec"
    yield f"http-after-response set-header {_SIZED} 1"


def backend() -> str:
    """The way to the process for large bodies: more of them wait here, where a waiting one costs a small buffer."""
    many = OpenAiError(429, "too many large requests wait", "overloaded", retry_after_s=5)
    busy = retry_later("large requests can't be taken right now")

    def lines() -> Iterator[str]:
        yield f"http-request return {many.answer()} if {{ queue gt {_MOST_WAITING} }}"
        yield f"http-error {busy.answer()}"
        yield f"timeout queue {HUGE_BODY_S}s"
        yield "http-reuse never"  # a connection that idles while that process reloads would be cut
        yield "option httpclose"
        yield "retries 3"
        yield (
            f"use-server many if {{ req.hdr_val(content-length) gt 0 }} "
            f"{{ req.hdr_val(content-length) le {LARGE_BODY} }}"
        )
        yield "use-server few unless { always_false }"
        yield f"server many unix@{LARGE_SOCKET} maxconn {LARGE_BODIES}"
        yield f"server few unix@{LARGE_SOCKET} maxconn {HUGE_BODIES}"

    return section(f"backend {_BACKEND}", lines())


def render(view: GatewayView) -> str:
    """The configuration of the HAProxy for large bodies; it depends on the largest body alone."""
    return "\n".join([_global(view), _defaults(), _frontend(view), _sized()])


def _global(view: GatewayView) -> str:
    def lines() -> Iterator[str]:
        yield "nbthread 1"
        yield f"maxconn {2 * (LARGE_BODIES + HUGE_BODIES)}"
        yield f"tune.bufsize {view.max_body + _ROOM}"
        yield from scripts.loads_for_bodies()
        yield "tune.lua.session-timeout 60s"  # 64 MiB of nothing but escapes take some seconds, with pauses for others
        yield "hard-stop-after 1h"

    return section("global", lines())


def _defaults() -> str:
    def lines() -> Iterator[str]:
        yield "mode http"
        yield f"timeout client {HUGE_BODY_S}s"
        yield "timeout client-fin 10s"
        yield "timeout http-request 10s"
        yield "timeout connect 2s"
        yield "timeout server 1h"
        yield "timeout tunnel 1h"
        yield "option http-no-delay"
        yield "option abortonclose"
        yield "option httpclose"
        yield from default_errors()

    return section("defaults", lines())


def _frontend(view: GatewayView) -> str:
    def lines() -> Iterator[str]:
        yield f"bind unix@{LARGE_SOCKET} mode 600"
        medium = f"{{ req.hdr_val(content-length) gt 0 }} {{ req.hdr_val(content-length) le {LARGE_BODY} }}"
        yield f"http-request wait-for-body time {LARGE_BODY_S}s if {medium}"
        yield f"http-request wait-for-body time {HUGE_BODY_S}s"
        yield f"http-request return {too_large(view).answer()} if {{ req.body_len gt {view.max_body} }}"
        yield "http-request lua.rayllm_body"
        for header, name in ((_BODY, "body"), (_AFFINITY, "affinity")):  # in base64, since they may be anything
            yield f"http-request set-header {header} %[var(txn.{name}),base64]"
        yield "default_backend sized"

    return section("frontend large", lines())


def _sized() -> str:
    def lines() -> Iterator[str]:
        yield "retries 3"
        yield f"server gateway unix@{SIZED_SOCKET}"

    return section("backend sized", lines())
