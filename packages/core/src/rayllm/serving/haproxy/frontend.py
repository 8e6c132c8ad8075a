"""The front door: what happens to a request, rule by rule, in this order.

1. It gets an id; headers of our own that a client sent are removed.
2. After a reload the old worker hands it to the new one; RayLLM's admin API is guarded before.
3. `/health`, RayLLM's admin API and what goes to Ray's dashboard (`ingress`), which have guards of their own, need no
   API key.
4. Who asks (`access.identify`), and within their limits (`access.limit`)?
5. The gateway's own answers: the list of models.
6. The name of a model: from the path, else from the body (`reading`); a large body is read elsewhere and comes
   back to a second front door (`large`), which goes on from here.
7. That name, or its alias, becomes a model (`naming`), if the key may use it.
8. The model's backend (`models`) chooses a replica.
"""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy import access, bodies, ingress, large, log, naming, reading
from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.models import backend_of
from rayllm.serving.haproxy.places import NEXT_SOCKET, TLS_FILE
from rayllm.serving.haproxy.text import address, section
from rayllm.serving.haproxy.view import GatewayView

_TLS = f" ssl crt {TLS_FILE} alpn h2,http/1.1 ssl-min-ver TLSv1.2"
_OWN_HEADERS = "x-rayllm-"


def sections(view: GatewayView) -> list[str]:
    """All front doors."""
    return [section("frontend gateway", _gateway(view)), section("frontend sized", _sized(view)), large.backend()]


def _gateway(view: GatewayView) -> Iterator[str]:
    yield f"bind {address(view.host, view.port)}{_TLS if view.tls else ''}"
    yield f"bind unix@{NEXT_SOCKET} mode 600 name next"
    yield "option idle-close-on-response"  # a reload cuts no connection that is kept alive
    yield from log.logged()
    yield from log.begun()
    yield f"http-request del-header {_OWN_HEADERS} -m beg"
    yield from log.identified()
    # Kept as variables: what a request is may not change when its path is shortened, or while its body comes.
    yield "http-request set-var(txn.admin) bool(true) if { path_beg /rayllm/ }"
    yield "acl admin var(txn.admin) -m bool"
    yield from access.guard_admin(view)
    yield "http-request set-var(txn.next) bool(true) if { stopping }"
    yield "acl for-next var(txn.next) -m bool"
    yield "http-request allow if for-next"
    yield "http-request allow if admin"
    yield "http-request return status 200 content-type application/json string '{}' if METH_GET { path /health }"
    yield from access.identify(view)
    yield from access.limit()
    yield from access.permit()
    yield from _listing()
    yield from reading.by_path()
    yield from _no_endpoint()
    yield from reading.by_body(view)
    yield from naming.resolve(view)
    yield from bodies.attach()
    yield from log.routed()
    yield "use_backend next-worker if for-next"
    if view.ingress.dashboard:
        yield ingress.route()
    yield "use_backend rayllm-admin if admin"
    yield from large.handed_over()
    yield f"use_backend {backend_of('%[var(txn.model)]')}"


def _sized(view: GatewayView) -> Iterator[str]:
    yield from large.take_over()
    yield from log.logged()
    yield f"http-request del-header {_OWN_HEADERS} -m beg"
    yield from log.identified()
    yield from access.permit()
    yield from reading.named()
    yield from naming.resolve(view)
    yield from bodies.attach_all()
    yield from log.routed()
    yield f"use_backend {backend_of('%[var(txn.model)]')}"


def _listing() -> Iterator[str]:
    """`GET /v1/models` and `GET /v1/models/NAME`: as much of them as the key may use."""
    yield "http-request use-service lua.models if METH_GET { path /v1/models }"
    yield "http-request set-var(txn.name) path,bytes(11),url_dec if METH_GET { path_beg /v1/models/ }"
    yield "http-request use-service lua.model if METH_GET { path_beg /v1/models/ }"


def _no_endpoint() -> Iterator[str]:
    own = "!by-path { path /health /v1/models } || !by-path { path_beg /v1/models/ }"
    nothing = OpenAiError(404, "there is no %[method] %[path,bytes(0,200),json(utf8ps)] here", "not_found")
    # What a client asks for whose address lacks the `/v1`.
    models = OpenAiError(404, "there is no GET /models here; did you mean /v1/models?", "not_found")
    yield f"http-request return {models.answer()} if METH_GET !by-path {{ path /models }}"
    yield f"http-request return {nothing.answer()} if !METH_POST !by-path"
    yield f"http-request return {nothing.answer()} if {own}"
