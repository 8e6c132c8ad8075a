"""Lists: all of their pages, and exact names after a server that looks for parts of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict

from rayllm_backend_cai.api.errors import CaiError
from rayllm_backend_cai.api.transport import Transport
from rayllm_backend_cai.api.wire import Record

Row = TypeVar("Row", bound=Record)
PAGE_SIZE = 100
"""The platform's own is 10."""


class _Page(Record):
    """One page, whatever its rows are."""

    next_page_token: str = ""
    model_config = ConfigDict(frozen=True, extra="allow")


def listed(
    transport: Transport,
    kind: type[Row],
    path: str,
    key: str,
    *,
    search: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Every row of a list.

    Args:
        transport: asks for it.
        kind: what a row is.
        path: where the list is.
        key: under which key a page has its rows.
        search: parts of fields, which the server compares with their case.
        params: further parameters.

    Raises:
        CaiError: it was refused, or its pages don't end.
    """
    asked: dict[str, Any] = {"page_size": PAGE_SIZE, **(params or {})}
    if search:
        asked["search_filter"] = json.dumps(dict(search))
    rows: list[Row] = []
    seen: set[str] = set()
    while True:
        answer = transport.ask("GET", path, params=asked)
        page = transport.record(_Page, answer)
        found = (page.model_extra or {}).get(key, [])
        rows += (transport.parsed(kind, one, answer) for one in found)
        token = page.next_page_token
        if not token:
            return rows
        if token in seen:
            raise CaiError(f"{transport.workspace.url}: the list {path} comes back to a page that was read already")
        seen.add(token)
        asked["page_token"] = token  # with the same size, as the platform wants it


def named(rows: list[Row], name: str) -> list[Row]:
    """Those that have exactly this name, the newest first: the platform does not keep names unique."""
    same = [row for row in rows if getattr(row, "name", None) == name]
    return sorted(same, key=lambda row: str(getattr(row, "created_at", "")), reverse=True)
