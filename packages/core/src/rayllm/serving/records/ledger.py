"""Usage by minute, key and model: a fold over the access log.

What is counted and how far the log is counted stand in one transaction, so that nothing is lost or counted twice,
whoever is killed when.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rayllm.serving.records.access_line import AccessLine, read_line
from rayllm.serving.records.access_log import AccessLog, Position
from rayllm.serving.records.database import open_database, writing

MINUTE, DAY = 60, 86400
KEPT_DAYS = 35
"""Days for which minutes are kept; then they become one row for the day."""
_COUNTED = ("requests", "errors", "prompt_tokens", "completion_tokens", "estimated")
_SUMS = ", ".join(f"SUM({name})" for name in _COUNTED)
_SUMMED = ", ".join(f"{name} = {name} + excluded.{name}" for name in _COUNTED)
_ADD = f"INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_SUMMED}"  # noqa: S608  names of ours
By = Literal["key", "model", "day"]
"""What usage may be told apart by."""
_GROUPS = {"key": "key", "model": "model", "day": f"start - start % {DAY}"}


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used."""

    group: tuple[str | int, ...]
    """Of what `by` names, in that order; a day is the Unix time of its beginning in UTC."""
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Requests whose tokens no engine reported: the parts of their streams stand in for the answer's tokens."""


class Ledger:
    """The one reader of a gateway's access log. Methods block; one thread at a time may call them.

    Args:
        log: the access log.
        database: file of the records.
        watch: told of every request that is counted, for metrics.
    """

    def __init__(self, log: Path, database: Path, watch: Callable[[AccessLine], None] = lambda _: None) -> None:
        self._log = AccessLog(log)
        self._database = open_database(database)
        self._watch = watch
        self._recent = Counter[tuple[str, int]]()
        self._folded_day = 0

    def fold(self) -> int:
        """Count what is new in the log; returns the number of requests.

        Raises:
            OSError: the log can't be read or moved.
            sqlite3.Error: the records can't be written; nothing is counted then, and the next call tries again.
        """
        counted = 0
        while True:
            with writing(self._database) as database:
                before = self._position(database)
                lines, after = self._log.read(before)
                requests = [request for line in lines if (request := read_line(line))]
                _add(database, requests)
                if after != before:
                    row = (str(self._log.path), after.bytes, after.head)
                    database.execute("INSERT OR REPLACE INTO log_position VALUES (?, ?, ?)", row)
                elif not self._log.move(after):  # here, so that nobody else reads it meanwhile
                    break
            self._remember(requests)
            counted += len(requests)
        self._fold_old()
        return counted

    def usage(self, since: float, until: float, by: Iterable[By] = ("key", "model")) -> list[Usage]:
        """Sums of what ended from `since` to before `until` (Unix times; whole minutes, of old days whole days)."""
        groups = [_GROUPS[name] for name in by]
        grouped = f"GROUP BY {', '.join(groups)} ORDER BY {', '.join(groups)}" if groups else "HAVING SUM(requests)"
        rows = self._database.execute(
            f"SELECT {', '.join([*groups, _SUMS])} FROM usage WHERE start + span > ? AND start < ? {grouped}",  # noqa: S608  names of ours
            (int(since), int(until)),
        )
        return [Usage(row[: len(groups)], *row[len(groups) :]) for row in rows]

    def tokens(self, now: float) -> dict[str, tuple[int, int]]:
        """Tokens of each key in this minute and in this day (UTC), as the clock counts them."""
        minute, day = int(now) // MINUTE * MINUTE, int(now) // DAY * DAY
        rows = self._database.execute(
            "SELECT key, SUM((prompt_tokens + completion_tokens) * (start >= ?)), "
            "SUM(prompt_tokens + completion_tokens) FROM usage WHERE start >= ? AND key != '' GROUP BY key",
            (minute, day),
        )
        return {key: (of_minute, of_day) for key, of_minute, of_day in rows}

    def recent_requests(self) -> dict[str, int]:
        """Requests of this minute and the last, as far as this object saw them, by `KEY/MINUTE` as HAProxy counts."""
        last = int(time.time()) // MINUTE - 1
        return {f"{key}/{minute}": count for (key, minute), count in list(self._recent.items()) if minute >= last}

    def close(self) -> None:
        """Close the records."""
        self._database.close()

    def _position(self, database: sqlite3.Connection) -> Position:
        row = database.execute(
            "SELECT position, head FROM log_position WHERE log = ?", (str(self._log.path),)
        ).fetchone()
        return Position(*row) if row else Position()

    def _remember(self, requests: Iterable[AccessLine]) -> None:
        for request in requests:
            self._watch(request)
            if request.counts:
                self._recent[request.key, int(request.end - request.total_s) // MINUTE] += 1
        last = int(time.time()) // MINUTE - 1
        for group in [group for group in self._recent if group[1] < last]:
            del self._recent[group]

    def _fold_old(self) -> None:
        """Once a day: the minutes of old days become days."""
        until = int(time.time()) // DAY * DAY - KEPT_DAYS * DAY
        if until == self._folded_day:
            return
        with writing(self._database) as database:
            old = database.execute(
                f"SELECT {_GROUPS['day']}, {DAY}, key, model, {_SUMS} FROM usage WHERE span = {MINUTE} AND start < ? "  # noqa: S608  names of ours
                f"GROUP BY {_GROUPS['day']}, key, model",
                (until,),
            ).fetchall()
            database.executemany(_ADD, old)
            database.execute(f"DELETE FROM usage WHERE span = {MINUTE} AND start < ?", (until,))  # noqa: S608  a number
        self._folded_day = until


def _add(database: sqlite3.Connection, requests: Iterable[AccessLine]) -> None:
    """Add them, but for what has neither key nor model: that is nobody's."""
    sums: dict[tuple[int, int, str, str], list[int]] = {}
    for request in requests:
        if not request.key and not request.model:
            continue
        row = sums.setdefault((int(request.end) // MINUTE * MINUTE, MINUTE, request.key, request.model), [0] * 5)
        row[0] += 1
        row[1] += request.failed
        row[2] += request.prompt_tokens
        row[3] += request.completion_tokens
        row[4] += request.estimated
    database.executemany(_ADD, [(*group, *row) for group, row in sums.items()])
