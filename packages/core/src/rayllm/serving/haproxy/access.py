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
MAY_FILE = "may.map"
"""`ID/NAME 1` for every name that a key with scope `-` may use."""
SPENT_FILE = "spent.map"
"""`ID UNIX_TIME:PERIOD`: until then the key's tokens of this `minute` or `day` are used up."""
MINUTES_TABLE = "minutes"
"""Stick table: `ID/MINUTE` (minutes since 1970) and the requests of that minute, as `gpc0`."""
_FLIGHTS_TABLE = "flights"
_DAY_S = 86400


def maps(view: GatewayView) -> dict[str, str]:
    """The files with the keys."""
    keys = sorted(view.keys, key=lambda key: key.id)
    return {
        KEYS_FILE: "".join(line for key in keys for line in _lines(key)),
        MAY_FILE: "".join(f"{key.id}/{name} 1\n" for key in keys for name in sorted(key.names or ())),
        SPENT_FILE: "".join(f"{key.id} {key.spent_until}:{_period(key)}\n" for key in keys if key.spent_until),
    }


def rules(maps: dict[str, str]) -> tuple[KeyRule, ...]:
    """Read the keys back from the files that `maps` made; limits on tokens don't stand there."""
    names: dict[str, list[str]] = {}
    for line in maps.get(MAY_FILE, "").splitlines():
        key, _, name = line.partition("/")
        names.setdefault(key, []).append(name.removesuffix(" 1"))
    digests: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for line in maps.get(KEYS_FILE, "").splitlines():
        digest, _, rule = line.partition(" ")
        key, expires, per_minute, concurrent, scope = rule.split(":")
        digests.setdefault((key, per_minute, concurrent, scope), []).append((digest, int(expires)))
    return tuple(
        KeyRule(
            id=key,
            digests=tuple(digest for digest, expires in found if not expires),
            retiring=tuple((digest, expires) for digest, expires in found if expires),
            names=None if scope == "*" else tuple(names.get(key, ())),
            requests_per_minute=int(per_minute) or None,
            concurrent_requests=int(concurrent) or None,
        )
        for (key, per_minute, concurrent, scope), found in digests.items()
    )


def sections() -> list[str]:
    """The tables of what each key does now."""
    flights = "stick-table type string len 100 size 100k expire 10m store conn_cur"
    minutes = "stick-table type string len 100 size 200k expire 3m store gpc0"
    return [
        section(f"backend {_FLIGHTS_TABLE}", iter([flights])),
        section(f"backend {MINUTES_TABLE}", iter([minutes])),
    ]


def identify(view: GatewayView) -> Iterator[str]:
    """Rules that find the key's id (`txn.key`) and refuse who has none; the key itself goes no further."""
    missing = OpenAiError(401, "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY", "invalid_api_key")
    wrong = OpenAiError(401, "this API key is not known here, or was revoked", "invalid_api_key")
    expired = OpenAiError(401, "this API key has expired", "invalid_api_key")
    yield "http-request set-var(txn.secret) req.fhdr(x-api-key)"
    yield "http-request set-var(txn.secret) http_auth_bearer unless { var(txn.secret) -m len gt 0 }"
    yield "http-request del-header x-api-key"
    yield "http-request del-header authorization"
    if view.keys_required:
        yield f"http-request return {missing.answer()} unless {{ var(txn.secret) -m len gt 0 }}"
    yield f"http-request set-var(txn.rule) var(txn.secret),sha2(256),hex,map_str({KEYS_FILE})"
    yield "http-request unset-var(txn.secret)"
    yield "acl known-key var(txn.rule) -m found"
    if view.keys_required:
        yield f"http-request return {wrong.answer()} unless known-key"
    yield "http-request set-var(txn.key) var(txn.rule),field(1,:) if known-key"
    yield "http-request set-var(txn.expires) var(txn.rule),field(2,:),add(0) if known-key"
    yield (
        f"http-request return {expired.answer()} "
        "if { var(txn.expires) -m int gt 0 } { date,sub(txn.expires) -m int ge 0 }"
    )


def limit() -> Iterator[str]:
    """Rules that hold a key to its requests and tokens; what is refused counts as no request."""
    again = "%[var(txn.until),utime(%Y-%m-%dT%H:%M:%SZ)], in %[var(txn.wait)] s"
    message = f"this API key has used its tokens of this %[var(txn.spent),field(2,:)]; it has new ones at {again}"
    spent = _refused(message, "%[var(txn.wait)]")
    yield f"http-request set-var(txn.spent) var(txn.key),map_str({SPENT_FILE}) if known-key"
    yield "http-request set-var(txn.until) var(txn.spent),field(1,:),add(0) if { var(txn.spent) -m found }"
    yield "http-request set-var(txn.wait) date,neg,add(txn.until) if { var(txn.spent) -m found }"
    yield f"http-request return {spent} if {{ var(txn.wait) -m int gt 0 }}"
    yield from _limit_concurrent()
    yield from _limit_per_minute()


def permit() -> Iterator[str]:
    """Rules that refuse a name which the key may not use, as if it were not there."""
    yield "acl all-names var(txn.rule),field(5,:) -m str *"
    yield f"acl named var(txn.key),concat(/,txn.name),map_str({MAY_FILE}) -m found"
    yield "acl keyed var(txn.key) -m found"


def guard_admin(view: GatewayView) -> Iterator[str]:
    """Rules for the admin API: where the cluster has no token that would guard it, it is for this machine alone.

    Behind a platform's ingress everybody comes from this machine, so there it is for nobody. A worker that stops has
    asked before it hands a request on.
    """
    if not view.admin_guarded:
        there = OpenAiError(
            403, "without a token of the cluster, RayLLM's admin API is for its own machine", "forbidden"
        )
        here = "" if view.ingress.listen else "!{ src 127.0.0.0/8 ::1 } "
        yield f"http-request return {there.answer()} if admin {here}!{{ so_name next }}"


def _limit_concurrent() -> Iterator[str]:
    many = _refused("this API key has too many requests in flight", "1")
    yield "http-request set-var(txn.concurrent) var(txn.rule),field(4,:),add(0) if known-key"
    yield "acl bounded var(txn.concurrent) -m int gt 0"
    yield f"http-request track-sc0 var(txn.key) table {_FLIGHTS_TABLE} if bounded"
    yield f"http-request return {many} if bounded {{ sc0_conn_cur,sub(txn.concurrent) -m int gt 0 }}"


def _limit_per_minute() -> Iterator[str]:
    """A sliding minute: the requests of this minute, and as many of the last one's as the window still covers.

    Two counters of whole minutes, unlike HAProxy's own rates, tell when there will be room again.
    """
    fast = _refused("this API key has used its requests of this minute", "%[var(txn.wait)]")
    lookup = f"concat(/,txn.minute),table_gpc0({MINUTES_TABLE})"
    yield "http-request set-var(txn.per_minute) var(txn.rule),field(3,:),add(0) if known-key"
    yield "acl paced var(txn.per_minute) -m int gt 0"
    yield "http-request set-var(txn.time) date if paced"
    yield "http-request set-var(txn.minute) var(txn.time),div(60),sub(1) if paced"
    yield f"http-request set-var(txn.before) var(txn.key),{lookup} if paced"
    yield "http-request set-var(txn.minute) var(txn.time),div(60) if paced"
    yield f"http-request track-sc1 var(txn.key),concat(/,txn.minute) table {MINUTES_TABLE} if paced"
    yield "http-request set-var(txn.now) sc1_get_gpc0 if paced"
    yield "http-request set-var(txn.left) var(txn.time),mod(60),neg,add(60) if paced"
    yield "http-request set-var(txn.used) var(txn.before),mul(txn.left),div(60),add(txn.now) if paced"
    yield "http-request set-var(txn.room) var(txn.per_minute),sub(txn.used) if paced"
    # Room within this minute, as the last one's requests leave the window; else within the next, as this one's do.
    yield "acl full var(txn.room) -m int le 0"
    yield (
        "http-request set-var(txn.wait) var(txn.per_minute),sub(txn.now),mul(60),sub(1),div(txn.before),neg,"
        "add(txn.left) if paced full"
    )
    yield (
        "http-request set-var(txn.wait) var(txn.per_minute),mul(60),sub(1),div(txn.now),neg,add(60),add(txn.left) "
        "if paced full { var(txn.per_minute),sub(txn.now) -m int le 0 }"
    )
    yield f"http-request return {fast} if paced full"
    yield "http-request sc-inc-gpc0(1) if paced"
    yield "http-after-response set-header x-ratelimit-limit-requests %[var(txn.per_minute)] if paced"
    yield "http-after-response set-header x-ratelimit-remaining-requests %[var(txn.room),sub(1)] if paced !full"


def _period(key: KeyRule) -> str:
    """What a key has used the tokens of: where a minute ends with the day, which of both limits makes no difference."""
    return "day" if key.tokens_per_day is not None and not (key.spent_until or 0) % _DAY_S else "minute"


def _refused(message: str, wait_s: str) -> str:
    return OpenAiError(429, message, "rate_limit_exceeded", retry_after_s=wait_s).answer()


def _lines(key: KeyRule) -> Iterator[str]:
    bounds = (key.requests_per_minute, key.concurrent_requests)
    rest = ":".join([*(str(bound or 0) for bound in bounds), "*" if key.names is None else "-"])
    digests = [*((digest, key.expires) for digest in key.digests), *key.retiring]
    for digest, until in digests:
        expires = min(filter(None, (until, key.expires)), default=0)
        yield f"{digest} {key.id}:{expires}:{rest}\n"
