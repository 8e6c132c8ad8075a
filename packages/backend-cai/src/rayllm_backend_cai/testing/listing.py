"""Lists as the platform makes them: filters on parts of fields, an order, pages with opaque tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from rayllm_backend_cai.testing.replies import bad

Row = dict[str, Any]
PAGE_SIZE = 10
_PREFIXES = ("APPLICATION_", "ENGINE_")


def page(rows: Iterable[Row], key: str, query: Mapping[str, str]) -> Row:
    """One page of those rows that the query asks for.

    Raises:
        Refused: the query can't be read, or its token is another list's.
    """
    found = [row for row in rows if _fits(row, _search(query))]
    for order in reversed(_asked(query, "sort", "sort").split(",")):
        name = order.lstrip("+- ")  # a plus that was not encoded arrives as a space
        if name:
            found.sort(key=lambda row: str(_field(row, name)), reverse=order.startswith("-"))
    size = _size(query)
    start = _start(_asked(query, "page_token", "pageToken"), size)
    more = start + size < len(found)
    return {key: found[start : start + size], "next_page_token": _token(start + size, size) if more else ""}


def _asked(query: Mapping[str, str], name: str, camel: str) -> str:
    return query.get(name) or query.get(camel) or ""


def _search(query: Mapping[str, str]) -> dict[str, str]:
    try:
        told = json.loads(_asked(query, "search_filter", "searchFilter") or "{}")
    except ValueError:
        raise bad("search_filter is no JSON") from None
    if not isinstance(told, dict):
        raise bad("search_filter is no object")
    return {name: str(part) for name, part in told.items()}


def _fits(row: Row, search: Mapping[str, str]) -> bool:
    return all(part in str(_field(row, name)) for name, part in search.items())


def _field(row: Row, name: str) -> Any:
    """A field's value by its name with dots; a status is searched by its bare word."""
    value: Any = row
    for part in name.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    if name == "status":
        for prefix in _PREFIXES:
            value = str(value).removeprefix(prefix)
        return value.lower()
    return value


def _size(query: Mapping[str, str]) -> int:
    told = _asked(query, "page_size", "pageSize") or str(PAGE_SIZE)
    if not told.isdigit():
        raise bad(f"page_size: {told!r} is no number")
    return int(told) or PAGE_SIZE


def _token(start: int, size: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([start, size]).encode()).decode()


def _start(token: str, size: int) -> int:
    if not token:
        return 0
    try:
        start, told = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise bad("page_token can't be read") from None
    if told != size:
        raise bad("page_size differs from the one that page_token was made with")
    return int(start)
