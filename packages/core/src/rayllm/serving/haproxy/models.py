"""The ways to a model: its replicas' engines, and Serve's own proxy while none is known or reachable."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.answers import OpenAiError, retry_later
from rayllm.serving.haproxy.places import ADMIN_SOCKET, NEXT_SOCKET, SERVE_SOCKET
from rayllm.serving.haproxy.text import address, section
from rayllm.serving.haproxy.view import GatewayView, ModelRoute, Upstream
from rayllm.serving.spec import INTERNAL_KEY_HEADER, route_prefix

_MODEL_HEADER = "x-rayllm-model"
"""Names the model on the hop to Serve's proxy."""


def backend_of(model: str) -> str:
    """Name of the backend with the model's replicas."""
    return f"model:{model}"


def shared() -> list[str]:
    """What all models share."""
    return [_next_worker(), _to_serve(), _admin()]


def sections(view: GatewayView, route: ModelRoute) -> list[str]:
    """What one model needs."""
    return [_model(route), _serve(view, route)]


def server(upstream: Upstream) -> str:
    """Name, address and options of one replica, as `server` and the runtime command `add server` take them."""
    return f"{upstream.server} {address(upstream.host, upstream.port)}"


def _model(route: ModelRoute) -> str:
    full = OpenAiError(429, f"too many requests wait for the model {route.model}", "overloaded", retry_after_s=5)

    def lines() -> Iterator[str]:
        yield "balance leastconn"
        yield f"http-request return {full.answer()} if {{ queue gt {route.max_queue} }}"
        yield f"http-request set-header {_MODEL_HEADER} {route.model}"
        # Only a connection that could not be made is tried elsewhere: a request that was sent may be at work already.
        yield "option redispatch 1"
        yield "retry-on conn-failure"
        yield f"retries {len(route.upstreams) + 1}"
        yield (
            "default-server check observe layer4 error-limit 1 on-error mark-down "
            f"inter 2s fastinter 500ms downinter 500ms rise 1 fall 2 maxconn {route.max_ongoing}"
        )
        for upstream in sorted(route.upstreams, key=lambda upstream: upstream.replica):
            yield f"server {server(upstream)}"
        if not route.fallback:
            yield f"server serve-proxy unix@{SERVE_SOCKET} no-check backup maxconn 0"

    return section(f"backend {backend_of(route.model)}", lines())


def _next_worker() -> str:
    """After a reload the old worker keeps idle connections, but what comes over them is for the new one to judge."""
    return section("backend next-worker", iter([f"server next unix@{NEXT_SOCKET}"]))


def _to_serve() -> str:
    """The way to Serve's proxy is a second hop, since a backup server can't have rules of its own."""

    def lines() -> Iterator[str]:
        yield f"bind unix@{SERVE_SOCKET} mode 600"
        yield f"use_backend serve:%[req.hdr({_MODEL_HEADER})]"

    return section("frontend to-serve", lines())


def _serve(view: GatewayView, route: ModelRoute) -> str:
    failed = retry_later(f"no replica of the model {route.model} can answer right now")

    def lines() -> Iterator[str]:
        yield f"http-request del-header {_MODEL_HEADER}"
        yield f"http-request set-header {INTERNAL_KEY_HEADER} {route.key}"
        yield f"http-request set-path {route_prefix(view.deployment, route.model)}%[path]"
        yield f"http-error {failed.answer()}"
        # Serve's own errors are plain text, what an engine says is JSON.
        yield (
            f"http-response return {failed.answer()} "
            "if { status ge 400 } !{ res.hdr(content-type) -m beg application/json }"
        )
        yield "retries 1"
        yield f"server serve {address('127.0.0.1', view.serve_port)}"

    return section(f"backend serve:{route.model}", lines())


def _admin() -> str:
    absent = retry_later("RayLLM's admin API is not running")

    def lines() -> Iterator[str]:
        yield "retries 0"
        yield f"http-error {absent.answer()}"
        yield f"server admin unix@{ADMIN_SOCKET}"

    return section("backend rayllm-admin", lines())
