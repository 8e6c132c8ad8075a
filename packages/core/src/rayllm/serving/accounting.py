"""The gateway's accounts: usage counted behind its back, limits on tokens held, metrics shown."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from aiohttp import web

from rayllm.errors import RayllmError
from rayllm.serving.haproxy.places import RUNTIME_SOCKET
from rayllm.serving.haproxy.sockets import ask
from rayllm.serving.haproxy.view import KeyRule
from rayllm.serving.records.budget import spent
from rayllm.serving.records.ledger import By, Ledger, Usage
from rayllm.serving.records.metrics import Metrics

logger = logging.getLogger(__name__)
_EVERY_S = 0.5
_PAUSE_S = 10.0
_STAT_S = 5.0


class Accounting:
    """Reads the access log twice a second, off the way of any request.

    Args:
        log: the access log.
        database: file of the records.
        run_dir: where HAProxy runs.
    """

    def __init__(self, log: Path, database: Path, run_dir: Path) -> None:
        self._log = log
        self._database = database
        self._metrics = Metrics(lambda: ask(run_dir, RUNTIME_SOCKET, "show stat", _STAT_S))
        self._ledger: Ledger | None = None
        self._using = threading.Lock()
        self.spent: dict[str, int] = {}
        """Keys whose tokens are used up, and the Unix time until which."""

    def routes(self) -> list[web.RouteDef]:
        """What the admin API answers of it: `GET /rayllm/metrics` and `GET /rayllm/v1/usage`."""
        return [web.get("/rayllm/metrics", self._show_metrics), web.get("/rayllm/v1/usage", self._show_usage)]

    async def follow(self, rules: Callable[[], Iterable[KeyRule]], apply: Callable[[], Awaitable[None]]) -> None:
        """Count until cancelled.

        Args:
            rules: the keys and their limits.
            apply: makes HAProxy go by `spent`; called when that has changed.
        """
        while True:
            try:
                now = await asyncio.to_thread(self._count, tuple(rules()))
                await self._hold(now, apply)
                await asyncio.sleep(_EVERY_S)
            except (OSError, sqlite3.Error, RayllmError) as problem:  # nothing is lost: it stays in the log
                logger.warning("usage can't be counted right now: %s", problem)
                await asyncio.sleep(_PAUSE_S)

    def recent_requests(self) -> dict[str, int]:
        """What keys have asked for in this minute and the last, up to the log's last line, by `KEY/MINUTE`.

        Where that can't be read or counted right now, as much as was counted before. May be called from any thread.
        """
        with self._using:
            if self._ledger is None:
                return {}
            try:
                self._ledger.fold()
            except (OSError, sqlite3.Error) as problem:
                logger.warning("the last requests can't be counted right now: %s", problem)
            return self._ledger.recent_requests()

    def close(self) -> None:
        """Close the records."""
        with self._using:
            if self._ledger:
                self._ledger.close()

    async def _hold(self, now: dict[str, int], apply: Callable[[], Awaitable[None]]) -> None:
        before, self.spent = self.spent, now
        try:
            if now != before:
                await apply()
        except BaseException:
            self.spent = before  # to be tried again
            raise

    def _count(self, rules: Iterable[KeyRule]) -> dict[str, int]:
        with self._using:
            if self._ledger is None:
                self._ledger = Ledger(self._log, self._database, self._metrics.watch)
            self._ledger.fold()
            now = time.time()
            limited = [rule for rule in rules if rule.tokens_per_minute or rule.tokens_per_day]
            return spent(limited, self._ledger.tokens(now), now) if limited else {}

    def _usage(self, since: float, until: float, by: Iterable[By]) -> list[Usage]:
        with self._using:
            return self._ledger.usage(since, until, by) if self._ledger else []

    async def _show_metrics(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp's signature
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _show_usage(self, request: web.Request) -> web.Response:
        try:
            since = float(request.query.get("since", 0))
            until = float(request.query.get("until", time.time() + 1))
            by = [name for name in get_args(By) if name in request.query.get("by", "key,model").split(",")]
        except ValueError:
            message = "since and until are Unix times in seconds"
            return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
        rows = await asyncio.to_thread(self._usage, since, until, by)
        told = [{**dict(zip(by, row.group, strict=True)), **asdict(row)} for row in rows]
        for row in told:
            del row["group"]
        return web.json_response({"usage": told})
