"""Who asks, and whether they may: API keys and their limits.

A key is never stored or logged: what the maps hold is its SHA-256. The maps can be changed while HAProxy runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.text import section
from rayllm.serving.haproxy.view import GatewayView, KeyRule

KEYS_FILE = "keys.map"
"""`DIGEST ID:EXPIRES:REQUESTS_PER_MINUTE:CONCURRENT_REQUESTS:SCOPE`; 0: no bound; scope `*` (all) or `-` (listed)."""
MAY_FILE = "may.lst"
"""`ID/NAME` for every name that a key with scope `-` may use."""
SPENT_FILE = "spent.map"
"""`ID UNIX_TIME`: until then the key's tokens are used up."""
_RATES = "rates"


def maps(view: GatewayView) -> dict[str, str]:
    """The files with the keys."""
    keys = sorted(view.keys, key=lambda key: key.id)
    return {
        KEYS_FILE: "".join(f"{digest} {_rule(key)}\n" for key in keys for digest in key.digests),
        MAY_FILE: "".join(f"{key.id}/{name}\n" for key in keys for name in sorted(key.names or ())),
        SPENT_FILE: "".join(f"{key.id} {key.spent_until}\n" for key in keys if key.spent_until),
    }


def sections() -> list[str]:
    """The table of what each key does now."""
    table = "stick-table type string len 100 size 100k expire 10m store gpc0_rate(60s),conn_cur"
    return [section(f"backend {_RATES}", iter([table]))]


def identify(view: GatewayView) -> Iterator[str]:
    """Rules that find the key's id (`txn.key`) and refuse who has none; the key itself goes no further."""
    missing = OpenAiError(401, "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY", "invalid_api_key")
    wrong = OpenAiError(401, "this API key is not known here", "invalid_api_key")
    expired = OpenAiError(401, "this API key has expired", "invalid_api_key")
    yield "http-request set-var(txn.secret) req.hdr(x-api-key)"
    yield (
        "http-request set-var(txn.secret) req.hdr(authorization),regsub('^[Bb]earer +','') "
        "unless { var(txn.secret) -m found }"
    )
    yield "http-request del-header x-api-key"
    yield "http-request del-header authorization"
    if view.keys_required:
        yield f"http-request return {missing.answer()} unless {{ var(txn.secret) -m found }}"
    yield f"http-request set-var(txn.rule) var(txn.secret),sha2(256),hex,map_str({KEYS_FILE})"
    yield "http-request unset-var(txn.secret)"
    if view.keys_required:
        yield f"http-request return {wrong.answer()} unless {{ var(txn.rule) -m found }}"
    yield "http-request set-var(txn.key) var(txn.rule),field(1,:) if { var(txn.rule) -m found }"
    yield "http-request set-var(txn.expires) var(txn.rule),field(2,:),add(0) if { var(txn.rule) -m found }"
    yield (
        f"http-request return {expired.answer()} "
        "if { var(txn.expires) -m int gt 0 } { date,sub(txn.expires) -m int ge 0 }"
    )


def limit() -> Iterator[str]:
    """Rules that hold a key to its requests and tokens."""
    fast = OpenAiError(429, "this API key has used its requests of this minute", "rate_limit_exceeded", retry_after_s=5)
    many = OpenAiError(429, "this API key has too many requests in flight", "rate_limit_exceeded", retry_after_s=1)
    spent = OpenAiError(429, "this API key has used its tokens", "rate_limit_exceeded", retry_after_s=60)
    yield f"http-request track-sc0 var(txn.key) table {_RATES} if {{ var(txn.key) -m found }}"
    yield f"http-request set-var(txn.spent) var(txn.key),map_str_int({SPENT_FILE}) if {{ var(txn.key) -m found }}"
    yield (
        f"http-request return {spent.answer()} "
        "if { var(txn.spent) -m int gt 0 } { date,sub(txn.spent) -m int lt 0 }"
    )
    yield "http-request set-var(txn.concurrent) var(txn.rule),field(4,:),add(0) if { var(txn.rule) -m found }"
    yield (
        f"http-request return {many.answer()} "
        "if { var(txn.concurrent) -m int gt 0 } { sc0_conn_cur,sub(txn.concurrent) -m int gt 0 }"
    )
    yield "http-request set-var(txn.per_minute) var(txn.rule),field(3,:),add(0) if { var(txn.rule) -m found }"
    yield (
        f"http-request return {fast.answer()} "
        "if { var(txn.per_minute) -m int gt 0 } { sc0_gpc0_rate,sub(txn.per_minute) -m int ge 0 }"
    )
    yield "http-request sc-inc-gpc0(0) if { var(txn.per_minute) -m int gt 0 }"


def permit() -> Iterator[str]:
    """Rules that refuse a name which the key may not use, as if it were not there."""
    yield "acl all-names var(txn.rule),field(5,:) -m str *"
    yield f"acl named var(txn.key),concat(/,txn.name) -m str -f {MAY_FILE}"
    yield "acl keyed var(txn.key) -m found"


def _rule(key: KeyRule) -> str:
    bounds = (key.expires, key.requests_per_minute, key.concurrent_requests)
    return ":".join([key.id, *(str(bound or 0) for bound in bounds), "*" if key.names is None else "-"])
