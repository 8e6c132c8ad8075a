"""From a request to the name of a model: by its path, or by its body."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy import large
from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.limits import BODY_IN_PLACE, BODY_IN_PLACE_S
from rayllm.serving.haproxy.view import GatewayView

MODELS_PATH = "/models/"
"""`/models/NAME/v1/…`: any method and body, the model named by the path."""


def by_path() -> Iterator[str]:
    """Rules that take the name from the path, and shorten it."""
    # Kept as a variable: the path is about to lose what tells it.
    yield f"http-request set-var(txn.by_path) bool(true) if {{ path_beg {MODELS_PATH} }}"
    yield "acl by-path var(txn.by_path) -m bool"
    yield "http-request set-var(txn.name) path,field(3,/),url_dec if by-path"
    yield r"http-request replace-path ^/models/[^/]*(/.*)?$ \1 if by-path"
    yield "http-request set-path / if by-path !{ path -m len gt 0 }"
    yield "http-request use-service lua.unknown-model if by-path !{ var(txn.name) -m len gt 0 }"


def by_body(view: GatewayView) -> Iterator[str]:
    """Rules that take the name from the body of a POST, and hand a body that is too large for here to where it is not.

    `txn.body` is what `lua/body.lua` tells of it: `AT:LEN:KIND:ASK:NAME`.
    """
    encoded = OpenAiError(415, "the request body is compressed: send it as it is", "unsupported_encoding")
    too_large = large.too_large(view).answer()
    plain = "{ req.hdr(content-encoding) -i identity }"
    yield f"http-request return {encoded.answer()} if !by-path {{ req.hdr(content-encoding) -m found }} !{plain}"
    yield f"http-request return {too_large} if {{ req.hdr_val(content-length) gt {view.max_body} }}"
    # Twice: what says its length is handed on before it is sent, what does not (chunks) once it has filled the buffer.
    yield (
        f"http-request set-var(txn.large) bool(true) if !by-path {{ req.hdr_val(content-length) gt {BODY_IN_PLACE} }}"
    )
    yield "acl large var(txn.large) -m bool"
    yield f"http-request wait-for-body time {BODY_IN_PLACE_S}s if !by-path !large"
    yield f"http-request set-var(txn.large) bool(true) if !by-path !large {{ req.body_len gt {BODY_IN_PLACE} }}"
    yield from large.hand_over()
    yield "acl form req.hdr(content-type) -i -m beg multipart/form-data"
    yield "http-request set-var(txn.body) req.body,lua.rayllm_json if !by-path !form"
    yield "http-request set-var(txn.body) lua.rayllm_form if !by-path form"
    yield from _by_path_too()
    yield from named()


def _by_path_too() -> Iterator[str]:
    """Rules for a body whose model the path names: it is read where a stream has to be asked for its usage.

    Not one that is too large for here, compressed or no JSON: its stream is not asked.
    """
    asked = "by-path METH_POST { path_end /completions } !form !{ req.hdr(content-encoding) -m found }"
    fits = f"!{{ req.hdr_val(content-length) gt {BODY_IN_PLACE} }}"
    yield f"http-request wait-for-body time {BODY_IN_PLACE_S}s if {asked} {fits}"
    fits = f"!{{ req.body_size gt {BODY_IN_PLACE} }}"
    yield f"http-request set-var(txn.body) req.body,lua.rayllm_unnamed if {asked} {fits}"
    yield "http-request unset-var(txn.body) if by-path { var(txn.body) -m beg ! }"


def named() -> Iterator[str]:
    """Rules that take the name from what was found in the body, and refuse one without a name."""
    unreadable = OpenAiError(400, "%[var(txn.body),field(2,:,0),json(utf8ps)]", "model_unreadable", param="model")
    yield (
        "http-request set-var(txn.name) var(txn.body),field(5,:,0) "
        "if { var(txn.body) -m found } !{ var(txn.by_path) -m bool }"
    )
    yield f"http-request return {unreadable.answer()} unless {{ var(txn.name) -m len gt 0 }}"
