"""Which requests meet the Lua filter of bodies, and how the tokens of the others are read."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.limits import BODY_IN_PLACE

_WATCHED = "http-request set-var(txn.watched) bool(true),lua.rayllm_watch"
_GENERATING = "/completions /responses /messages /chat /generate /batch"
"""How the paths end where an answer is a text that cost tokens."""
_ESTIMATED = r"{\"estimated\":true}"


def attach() -> Iterator[str]:
    """Last rules of a front door: which requests meet the filter of bodies, since it costs as much as all else.

    Those to be written anew, streams, and answers that may be larger than a buffer.
    """
    yield f"{_WATCHED} if {{ var(txn.rename) -m found }} || {{ var(txn.body),field(3,:) -m len gt 0 }}"
    yield f"{_WATCHED} if !{{ var(txn.watched) -m found }} {{ path_end /embeddings /pooling /batch }}"
    yield f"{_WATCHED} if !{{ var(txn.watched) -m found }} by-path"


def attach_all() -> Iterator[str]:
    """The same where bodies are large: so may be what answers them, and the filter is the least of what they cost."""
    yield _WATCHED


def filters() -> Iterator[str]:
    """Lines of a backend: the filter, and the tokens of an answer that it is not needed for."""
    yield "filter lua.rayllm"
    json = "{ status 200 } { res.hdr(content-type) -m beg application/json }"
    whole = f"{json} !{{ res.hdr_val(content-length) gt {BODY_IN_PLACE} }}"
    yield f"http-response wait-for-body time 1h if {whole}"
    yield f"http-response set-var(txn.usage) res.body,lua.rayllm_usage if {whole}"
    # Who reads the log makes an estimate of it, unless the filter learns more. `null` has four letters.
    unknown = "METH_POST { status 200 } !{ var(txn.usage) -m len gt 4 }"
    generating = f"{{ capture.req.uri,field(1,?) -m end {_GENERATING} }}"
    yield f"http-response set-var(txn.usage) \"str('{_ESTIMATED}')\" if {unknown} {generating}"
