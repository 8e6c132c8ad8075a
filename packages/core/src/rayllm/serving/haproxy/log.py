"""What is written down of a request: never its body, its query or its headers.

HAProxy's standard output is the access log, a line of JSON for each request; its standard error is the gateway's log,
with the lines of those requests that went wrong (5xx, time-outs, retries). Both are files, so that nothing is lost
while nobody reads: usage is counted from the access log alone.
"""

from __future__ import annotations

from collections.abc import Iterator

_LONGEST_LINE = 4096

_FIELDS = {
    "end": "%[date(0,ms)]",
    "id": '"%[var(txn.id),json(utf8ps)]"',
    "key": '"%[var(txn.key)]"',
    "method": '"%HM"',
    "path": '"%[capture.req.uri,field(1,?),bytes(0,200),json(utf8ps)]"',
    "name": '"%[var(txn.name),bytes(0,100),json(utf8ps)]"',
    "model": '"%[var(txn.model)]"',
    "adapter": '"%[var(txn.adapter)]"',
    "replica": '"%s"',
    "status": "%ST",
    "state": '"%ts"',
    "retries": '"%rc"',
    "queue_ms": "%Tw",
    "connect_ms": "%Tc",
    "first_ms": "%Tr",
    "total_ms": "%Ta",
    "received": "%U",
    "sent": "%B",  # a field of the response also makes HAProxy wait for its end
    "usage": "%[var(txn.usage,null)]",
}


def logged() -> Iterator[str]:
    """Where lines go, and what stands in one."""
    yield f"log stdout len {_LONGEST_LINE} format raw local0"
    yield f"log stderr len {_LONGEST_LINE} format raw local0 err"
    yield "option log-separate-errors"
    line = ",".join(f'"{name}":{value}' for name, value in _FIELDS.items())
    yield f"log-format '{{{line}}}'"


def begun() -> Iterator[str]:
    """First of all rules: when the request came."""
    yield "http-request set-var(txn.began) date(0,us)"


def routed() -> Iterator[str]:
    """Last of all rules: how long it took until a replica can be chosen.

    HAProxy's clock stands still while it works and goes on when it waits, so what is told is the wait for a body, and
    of a large one the reading: what a small one costs is less than any clock here can tell.
    """
    yield "http-request set-var(txn.gateway) date(0,us),sub(txn.began)"


def identified() -> Iterator[str]:
    """Rules that give the request an id, the client's own where it has one, and the answer its id and times."""
    yield "http-request set-var(txn.id) req.fhdr(x-request-id) if { req.fhdr(x-request-id) -m reg ^[!-~]{1,128}$ }"
    yield "http-request set-var(txn.id) uuid() unless { var(txn.id) -m found }"
    yield "http-request set-header x-request-id %[var(txn.id)]"
    yield "http-after-response set-header x-request-id %[var(txn.id)]"
    fraction = "mod(1000),add(1000),concat(),bytes(1)"  # three digits, also of a small number; `concat` makes it text
    gateway = f"%[var(txn.gateway),div(1000)].%[var(txn.gateway),{fraction}]"
    times = f"gateway;dur={gateway}, queue;dur=%Tw, connect;dur=%Tc, engine;dur=%Tr"
    yield f"http-response set-header server-timing '{times}' if {{ var(txn.gateway) -m found }}"
