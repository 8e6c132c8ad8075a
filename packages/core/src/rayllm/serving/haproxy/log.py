"""What is written down of a request: never its body, its query or its headers."""

from __future__ import annotations

from collections.abc import Iterator


def logged() -> Iterator[str]:
    """Only what went wrong (5xx, time-outs, retries): the log grows with trouble, not with traffic."""
    yield "log stdout format raw local0"
    yield "option dontlog-normal"
    yield (
        'log-format "%[date,utime(%Y-%m-%dT%H:%M:%SZ)] %HM %HPO %b %s status=%ST end=%tsc retries=%rc '
        'wait=%Tw connect=%Tc first=%Tr total=%Ta sent=%B id=%[var(txn.id)]"'
    )


def identified() -> Iterator[str]:
    """Rules that give the request an id, the client's own where it has one."""
    yield "http-request set-var(txn.id) req.fhdr(x-request-id) if { req.fhdr(x-request-id) -m reg ^[!-~]{1,128}$ }"
    yield "http-request set-var(txn.id) uuid() unless { var(txn.id) -m found }"
    yield "http-request set-header x-request-id %[var(txn.id)]"
    yield "http-after-response set-header x-request-id %[var(txn.id)]"
