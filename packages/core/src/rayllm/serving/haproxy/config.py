"""HAProxy's configuration as a pure function of what the gateway knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rayllm.serving.haproxy.answers import (
    MODELS_FILE,
    NAMES_FILE,
    UNKNOWN_MODEL_FILE,
    OpenAiError,
    default_errors,
    model_object,
    models_list,
    retry_later,
    unknown_model,
)
from rayllm.serving.spec import INTERNAL_KEY_HEADER, route_prefix

BODY_LIMIT = 256 * 1024
"""Bytes of the largest request body: the model stands in it, so it is read whole before it is forwarded."""
_BUFFER = BODY_LIMIT + 32 * 1024  # the headers share the buffer with the body
_THREADS = 2
_MOST_FILES = 8400
"""Open files; HAProxy derives about half as many connections from it, fewer where the system's limit is lower."""

# Relative to `run_dir`, where HAProxy runs: a socket's path has at most 107 bytes, a home folder may have more.
CONFIG_FILE = "haproxy.cfg"
RUNTIME_SOCKET = "haproxy.sock"
MASTER_SOCKET = "master.sock"
ADMIN_SOCKET = "admin.sock"
_SERVE_SOCKET = "serve.sock"

_MODEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Upstream:
    """One replica's engine, as the gateway reaches it.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    replica: str
    host: str
    port: int

    def __post_init__(self) -> None:
        _check(_HOST, self.host, "host")
        _check_port(self.port)

    @property
    def server(self) -> str:
        """Its name in HAProxy's configuration and log."""
        return re.sub(r"[^A-Za-z0-9_.:-]", "-", self.replica)


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """One model: the replicas that can answer, and the key that opens Serve's proxy for it.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    model: str
    key: str
    upstreams: tuple[Upstream, ...] = ()

    def __post_init__(self) -> None:
        _check(_MODEL_NAME, self.model, "model name")
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"the internal key of model {self.model!r} has characters that a header can't hold")


@dataclass(frozen=True, slots=True)
class GatewayView:
    """Everything the configuration depends on. The order of routes and upstreams makes no difference.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """

    deployment: str
    host: str
    port: int
    serve_port: int
    """Port of Serve's own proxy on 127.0.0.1."""
    routes: tuple[ModelRoute, ...]
    run_dir: Path
    """Folder of this HAProxy alone; the admin API's socket `admin.sock` stands there."""

    def __post_init__(self) -> None:
        _check(_MODEL_NAME, self.deployment, "deployment name")
        _check(_HOST, self.host, "host")
        _check_port(self.port)
        _check_port(self.serve_port)


def files(view: GatewayView) -> dict[str, str]:
    """The files that the configuration names, by their names in `run_dir`."""
    models = sorted(route.model for route in view.routes)
    return {
        NAMES_FILE: "".join(f"{model}\n" for model in models),
        MODELS_FILE: models_list(models),
        UNKNOWN_MODEL_FILE: unknown_model(models),
    }


def render(view: GatewayView) -> str:
    """HAProxy's configuration; the same view gives the same text. It holds the internal keys."""
    routes = sorted(view.routes, key=lambda route: route.model)
    sections = [_global(), _defaults(), _gateway(view), _next_worker(view), _to_serve(), _admin()]
    for route in routes:
        sections += [_model(route), _serve(view, route)]
    return "\n".join(sections)


def _section(head: str, lines: Iterator[str]) -> str:
    return "".join([f"{head}\n", *(f"    {line}\n" for line in lines)])


def _global() -> str:
    def lines() -> Iterator[str]:
        yield f"stats socket unix@{RUNTIME_SOCKET} mode 600 level admin"
        yield f"nbthread {_THREADS}"
        yield f"fd-hard-limit {_MOST_FILES}"
        yield f"tune.bufsize {_BUFFER}"
        yield "hard-stop-after 1h"  # after a reload: as long as a stream may last

    return _section("global", lines())


def _defaults() -> str:
    def lines() -> Iterator[str]:
        yield "mode http"
        yield "timeout client 60s"
        yield "timeout client-fin 10s"
        yield "timeout http-request 10s"
        yield "timeout http-keep-alive 75s"
        yield "timeout connect 2s"
        yield "timeout server 1h"
        yield "timeout tunnel 1h"
        yield "option http-no-delay"  # a token is on its way as soon as it is here
        yield "option abortonclose"  # a client that is gone frees its place in the engine
        yield from default_errors()

    return _section("defaults", lines())


def _gateway(view: GatewayView) -> str:
    own = "{ path /health /v1/models } || { path_beg /v1/models/ }"

    def lines() -> Iterator[str]:
        yield f"bind {_address(view.host, view.port)}"
        # Only what went wrong (5xx, time-outs, retries) is logged: the log grows with trouble, not with traffic.
        yield "log stdout format raw local0"
        yield "option dontlog-normal"
        yield (
            'log-format "%[date,utime(%Y-%m-%dT%H:%M:%SZ)] %HM %HPO %b %s status=%ST end=%tsc retries=%rc '
            'wait=%Tw connect=%Tc first=%Tr total=%Ta sent=%B id=%[var(txn.id)]"'
        )
        yield "option idle-close-on-response"  # a reload cuts no connection that is kept alive
        yield f"http-request del-header {INTERNAL_KEY_HEADER}"
        yield "http-request set-var(txn.id) req.fhdr(x-request-id) if { req.fhdr(x-request-id) -m reg ^[!-~]{1,128}$ }"
        yield "http-request set-var(txn.id) uuid() unless { var(txn.id) -m found }"
        yield "http-request set-header x-request-id %[var(txn.id)]"
        yield "http-after-response set-header x-request-id %[var(txn.id)]"
        yield "http-request allow if { stopping }"
        yield "acl admin path_beg /rayllm/"
        yield "http-request allow if admin"
        yield "http-request return status 200 content-type application/json string '{}' if METH_GET { path /health }"
        yield (
            f"http-request return status 200 content-type application/json file {MODELS_FILE} "
            "if METH_GET { path /v1/models }"
        )
        yield "http-request set-var(txn.model) path,bytes(11),url_dec if METH_GET { path_beg /v1/models/ }"
        yield f"acl served var(txn.model) -m str -f {NAMES_FILE}"
        yield (
            f"http-request return status 200 content-type application/json lf-string {model_object()} "
            "if METH_GET { path_beg /v1/models/ } served"
        )
        yield (
            f"http-request return status 404 content-type application/json lf-file {UNKNOWN_MODEL_FILE} "
            "if METH_GET { path_beg /v1/models/ }"
        )
        no_endpoint = OpenAiError(404, "there is no %[method] %[path,bytes(0,200),json(utf8ps)] here", "not_found")
        yield f"http-request return {no_endpoint.answer()} unless METH_POST"
        yield f"http-request return {no_endpoint.answer()} if {own}"
        yield from _read_model()
        yield "use_backend next-worker if { stopping }"
        yield "use_backend rayllm-admin if admin"
        yield "use_backend model:%[var(txn.model)]"

    return _section("frontend gateway", lines())


def _read_model() -> Iterator[str]:
    too_large = OpenAiError(
        413, f"the request body is larger than {BODY_LIMIT // 1024} KiB, the most that is read here", "body_too_large"
    )
    unreadable = OpenAiError(
        400,
        'the request body has to be JSON with the name of a model in "model"; '
        "none can be read there (a name with backslash escapes can not)",
        "model_unreadable",
        param="model",
    )
    # Twice: what says its length is refused before it is sent, what does not (chunks) once it is here.
    yield f"http-request return {too_large.answer()} if {{ req.hdr_val(content-length) gt {BODY_LIMIT} }}"
    yield "http-request wait-for-body time 30s"
    yield f"http-request return {too_large.answer()} if {{ req.body_len gt {BODY_LIMIT} }}"
    yield "http-request set-var(txn.model) req.body,json_query('$.model')"
    yield f"http-request return {unreadable.answer()} unless {{ var(txn.model) -m len gt 0 }}"
    yield (f"http-request return status 404 content-type application/json lf-file {UNKNOWN_MODEL_FILE} unless served")


def _model(route: ModelRoute) -> str:
    def lines() -> Iterator[str]:
        yield "balance leastconn"
        # Only a connection that could not be made is tried elsewhere: a request that was sent may be at work already.
        yield "option redispatch 1"
        yield "retry-on conn-failure"
        yield f"retries {len(route.upstreams) + 1}"
        yield (
            "default-server check observe layer4 error-limit 1 on-error mark-down "
            "inter 2s fastinter 500ms downinter 500ms rise 1 fall 2"
        )
        for upstream in sorted(route.upstreams, key=lambda upstream: upstream.replica):
            yield f"server {upstream.server} {_address(upstream.host, upstream.port)}"
        yield f"server serve-proxy unix@{_SERVE_SOCKET} no-check backup"

    return _section(f"backend model:{route.model}", lines())


def _next_worker(view: GatewayView) -> str:
    """After a reload the old worker keeps idle connections, but what comes over them is for the new one to judge."""
    return _section("backend next-worker", iter([f"server next {_address(view.host, view.port)}"]))


def _to_serve() -> str:
    """The way to Serve's proxy is a second hop, since a backup server can't have rules of its own."""

    def lines() -> Iterator[str]:
        yield f"bind unix@{_SERVE_SOCKET} mode 600"
        yield "http-request wait-for-body time 30s"
        yield "use_backend serve:%[req.body,json_query('$.model')]"

    return _section("frontend to-serve", lines())


def _serve(view: GatewayView, route: ModelRoute) -> str:
    failed = retry_later(f"no replica of the model {route.model} can answer right now")

    def lines() -> Iterator[str]:
        yield f"http-request set-header {INTERNAL_KEY_HEADER} {route.key}"
        yield f"http-request set-path {route_prefix(view.deployment, route.model)}%[path]"
        yield f"http-error {failed.answer()}"
        # Serve's own errors are plain text, what an engine says is JSON.
        yield (
            f"http-response return {failed.answer()} "
            "if { status ge 400 } !{ res.hdr(content-type) -m beg application/json }"
        )
        yield "retries 1"
        yield f"server serve {_address('127.0.0.1', view.serve_port)}"

    return _section(f"backend serve:{route.model}", lines())


def _admin() -> str:
    absent = retry_later("RayLLM's admin API is not running")

    def lines() -> Iterator[str]:
        yield "retries 0"
        yield f"http-error {absent.answer()}"
        yield f"server admin unix@{ADMIN_SOCKET}"

    return _section("backend rayllm-admin", lines())


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} can't be a {what}")


def _check_port(port: int) -> None:
    if not 1 <= port <= _LAST_PORT:
        raise ValueError(f"{port} can't be a port")
