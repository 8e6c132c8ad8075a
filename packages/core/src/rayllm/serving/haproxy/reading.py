"""From a request to the name of a model: by its path, or by its body."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.limits import BODY_IN_PLACE

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


def by_body() -> Iterator[str]:
    """Rules that take the name from the body of a POST."""
    too_large = OpenAiError(
        413,
        f"the request body is larger than {BODY_IN_PLACE // 1024} KiB, the most that is read here",
        "body_too_large",
    )
    unreadable = OpenAiError(
        400,
        'the request body has to be JSON with the name of a model in "model"; '
        "none can be read there (a name with backslash escapes can not)",
        "model_unreadable",
        param="model",
    )
    # Twice: what says its length is refused before it is sent, what does not (chunks) once it is here.
    yield f"http-request return {too_large.answer()} if !by-path {{ req.hdr_val(content-length) gt {BODY_IN_PLACE} }}"
    yield "http-request wait-for-body time 30s if !by-path"
    yield f"http-request return {too_large.answer()} if !by-path {{ req.body_len gt {BODY_IN_PLACE} }}"
    yield "http-request set-var(txn.name) req.body,json_query('$.model') if !by-path"
    yield f"http-request return {unreadable.answer()} if !by-path !{{ var(txn.name) -m len gt 0 }}"
