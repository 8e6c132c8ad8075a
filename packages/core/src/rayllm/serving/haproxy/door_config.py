"""The configuration of a deployment's door. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy import ingress
from rayllm.serving.haproxy.answers import default_errors, retry_later
from rayllm.serving.haproxy.places import DOOR, NEXT_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.text import address, check_host, check_port, section

_BUFFER = 64 * 1024
"""Bytes; more than the headers that anybody sends here."""


def render(listen: tuple[str, int], dashboard: tuple[str, int]) -> str:
    """HAProxy's configuration, relative to the door's folder.

    Args:
        listen: the gateway's host and port.
        dashboard: those of Ray's dashboard.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """
    for host, port in (listen, dashboard):
        check_host(host)
        check_port(port)
    sections = [section("global", _global()), section("defaults", _defaults())]
    return "\n".join([*sections, section("frontend gateway", _frontend(listen)), ingress.backend(dashboard)])


def _global() -> Iterator[str]:
    yield f"unix-bind prefix ../{DOOR}/"
    yield f"stats socket unix@../{DOOR}/{RUNTIME_SOCKET} mode 600 level admin expose-fd listeners"
    yield "nbthread 1"
    yield "fd-hard-limit 40000"
    yield f"tune.bufsize {_BUFFER}"
    yield "hard-stop-after 1h"


def _defaults() -> Iterator[str]:
    yield "mode http"
    yield "timeout client 60s"
    yield "timeout client-fin 10s"
    yield "timeout http-request 10s"
    yield "timeout connect 2s"
    yield "timeout server 1h"
    yield "timeout tunnel 1h"
    yield "option http-no-delay"
    yield "option abortonclose"
    yield "option httpclose"  # the next request may be for a gateway that has come meanwhile
    yield "option idle-close-on-response"
    yield from default_errors()


def _frontend(listen: tuple[str, int]) -> Iterator[str]:
    nothing = retry_later("no model is deployed yet")
    yield f"bind {address(*listen)}"
    yield f"bind unix@{NEXT_SOCKET} mode 600"  # for what a gateway that leaves still gets over open connections
    yield "http-request return status 200 content-type application/json string '{}' if METH_GET { path /health }"
    yield "acl admin path_beg /rayllm/"
    yield f"http-request return {nothing.answer()} unless {{ path_beg {ingress.PREFIX}/ }}"
    yield ingress.route()
