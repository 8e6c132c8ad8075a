"""Which requests meet the Lua filter of bodies, and how the tokens of the others are read."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.limits import BODY_IN_PLACE


def attach() -> Iterator[str]:
    """Last rules of a front door: which requests meet the filter of bodies, since it costs as much as all else.

    Those to be written anew, streams, and answers that may be larger than a buffer.
    """
    watched = "http-request set-var(txn.watched) bool(true),lua.rayllm_watch if"
    yield f"{watched} {{ var(txn.rename) -m found }} || {{ var(txn.body),field(3,:) -m str 1 }}"
    yield f"{watched} !{{ var(txn.watched) -m found }} {{ path_end /embeddings /pooling }}"
    yield f"{watched} !{{ var(txn.body) -m found }}"


def filters() -> Iterator[str]:
    """Lines of a backend: the filter, and the tokens of an answer that it is not needed for."""
    yield "filter lua.rayllm"
    json = "{ status 200 } { res.hdr(content-type) -m beg application/json }"
    whole = f"{json} !{{ res.hdr_val(content-length) gt {BODY_IN_PLACE} }}"
    yield f"http-response wait-for-body time 1h if {whole}"
    yield f"http-response set-var(txn.usage) res.body,lua.rayllm_usage if {whole}"
