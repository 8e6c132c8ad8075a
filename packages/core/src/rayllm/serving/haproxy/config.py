"""HAProxy's configuration as a pure function of what the gateway knows."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy import access, endpoints, frontend, large, models, naming, scripts
from rayllm.serving.haproxy.answers import default_errors
from rayllm.serving.haproxy.limits import BODY_IN_PLACE, HEADERS
from rayllm.serving.haproxy.places import LARGE_CONFIG_FILE, RUNTIME_SOCKET, TLS_FILE
from rayllm.serving.haproxy.text import section
from rayllm.serving.haproxy.view import GatewayView

_BUFFER = BODY_IN_PLACE + HEADERS  # the headers share the buffer with the body
_THREADS = 2
QUEUE_S = 60
"""Seconds that a request may wait for room at a replica; then it gets 503 and the time to come again."""
_MOST_FILES = 40_000
"""Open files; HAProxy derives about half as many connections from it, fewer where the system's limit is lower."""


def files(view: GatewayView) -> dict[str, str]:
    """The files that the configuration names, by their names in `run_dir`."""
    tls = {TLS_FILE: view.tls} if view.tls else {}
    return {**scripts.files(), **endpoints.files(view), **maps(view), **tls, LARGE_CONFIG_FILE: large.render(view)}


def maps(view: GatewayView) -> dict[str, str]:
    """Those of the files that HAProxy can be told to change while it runs, a line for each entry."""
    return {**access.maps(view), **naming.maps(view), **models.maps(view)}


def render(view: GatewayView) -> str:
    """HAProxy's configuration; the same view gives the same text. It holds no secret."""
    sections = [_global(view), _defaults(), *frontend.sections(view), *access.sections(), *models.sections(view)]
    return "\n".join(sections)


def _global(view: GatewayView) -> str:
    def lines() -> Iterator[str]:
        # A successor takes over what it binds under the same name: the port, and no socket of this folder.
        folder = f"../{view.run_dir.name}"
        yield f"unix-bind prefix {folder}/"
        yield f"stats socket unix@{folder}/{RUNTIME_SOCKET} mode 600 level admin expose-fd listeners"
        yield f"nbthread {_THREADS}"
        yield from scripts.loads()
        yield f"fd-hard-limit {_MOST_FILES}"
        yield f"tune.bufsize {_BUFFER}"
        yield "hard-stop-after 1h"  # after a reload: as long as a stream may last

    return section("global", lines())


def _defaults() -> str:
    def lines() -> Iterator[str]:
        yield "mode http"
        yield "timeout client 60s"
        yield "timeout client-fin 10s"
        yield "timeout http-request 10s"
        yield "timeout http-keep-alive 75s"
        yield "timeout connect 2s"
        yield f"timeout queue {QUEUE_S}s"
        yield "timeout server 1h"
        yield "timeout tunnel 1h"
        yield "option http-no-delay"  # a token is on its way as soon as it is here
        yield "option dontlognull"  # a connection without a request, such as a load balancer's probe
        yield "option abortonclose"  # a client that is gone frees its place in the engine
        yield from default_errors()

    return section("defaults", lines())
