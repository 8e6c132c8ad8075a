"""Usage, counted from lines of the access log."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rayllm.serving.haproxy.view import KeyRule
from rayllm.serving.records import access_log
from rayllm.serving.records.access_line import read_line
from rayllm.serving.records.budget import spent
from rayllm.serving.records.ledger import DAY, MINUTE, Ledger

NOW = 1_800_000_000.0
NUMBERS = itertools.count()
READER = """
import sys
from pathlib import Path
from rayllm.serving.records import access_log
from rayllm.serving.records.ledger import Ledger
access_log.LIMIT = 5000
ledger = Ledger(Path(sys.argv[1]), Path(sys.argv[2]))
print(flush=True)
while True:
    ledger.fold()
"""


def line(
    end: float = NOW,
    key: str = "team",
    model: str = "a",
    status: int = 200,
    *,
    sent: int = 300,
    path: str = "/v1/x",
    **usage: Any,
) -> str:
    """One line of the log."""
    told = {
        "end": int(end * 1000),
        "id": str(next(NUMBERS)),
        "key": key,
        "path": path,
        "model": model,
        "replica": "r1",
        "status": status,
        "queue_ms": 2,
        "total_ms": 40,
        "sent": sent,
        "usage": usage or None,
    }
    return json.dumps(told, separators=(",", ":")) + "\n"


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every reader of a test is closed behind it, as Python 3.13 wants."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(*args: Any, **named: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **named))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    yield
    for connection in opened:
        connection.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that is not there yet."""
    return tmp_path / "access.log"


@pytest.fixture
def ledger(log: Path, tmp_path: Path) -> Ledger:
    """Its reader."""
    return Ledger(log, tmp_path / "records" / "demo.sqlite")


def write(log: Path, text: str) -> None:
    """Append, as HAProxy does."""
    with log.open("a") as file:
        file.write(text)


def totals(ledger: Ledger) -> list[tuple[Any, ...]]:
    """By key and model: requests, errors, tokens."""
    return [
        (*row.group, row.requests, row.errors, row.prompt_tokens, row.completion_tokens, row.estimated)
        for row in ledger.usage(0, 1e11)
    ]


def test_usage_by_key_and_model(log: Path, ledger: Ledger) -> None:
    """Sums of what is asked for; what reached no model is its key's, and nobody's without one."""
    assert ledger.fold() == 0
    write(log, line(prompt_tokens=5, completion_tokens=7) * 2 + line(status=503) + line(key="-", model="b"))
    write(log, line(model="-", status=404) + line(prompt_tokens=0, completion_tokens=3, estimated=True))
    write(log, line(key="-", model="-", status=401))
    assert ledger.fold() == 7
    assert ledger.fold() == 0
    assert totals(ledger) == [("", "b", 1, 0, 0, 0, 0), ("team", "", 1, 1, 0, 0, 0), ("team", "a", 4, 1, 10, 17, 1)]
    assert [row.group for row in ledger.usage(0, 1e11, ["model"])] == [("",), ("a",), ("b",)]
    assert ledger.usage(0, NOW - MINUTE, ["day"]) == []
    assert ledger.usage(0, 1e11, [])[0].requests == 6


def test_an_answer_of_unknown_cost_is_not_free(log: Path, ledger: Ledger) -> None:
    """Its length is charged."""
    write(log, line(sent=4000, estimated=True) + line(sent=3, estimated=True) + line(sent=4000))
    ledger.fold()
    assert totals(ledger) == [("team", "a", 3, 0, 0, 1001, 2)]


def test_an_answer_of_the_gateway_itself_has_no_replica() -> None:
    """HAProxy writes its own word there."""
    (own,) = [read_line(line().replace('"r1"', '"<lua.unknown-model>"').encode())]
    assert own
    assert own.replica == "-"


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (line(), True),
        (line(status=429), True),  # of the engine
        (line(model="-"), True),  # a list of models
        (line(model="-", status=404), True),
        (line(model="-", status=401), False),
        (line(model="-", status=429), False),
        (line(model="-", status=400, key="-").replace('"usage":null', '"usage":-'), False),
        (line(model="-", path="/health"), None),
        (line(model="-", path="/rayllm/v1/state", status=401), None),
        (line(model="-").replace('"r1"', '"next"'), None),
    ],
)
def test_what_is_counted_of_what_reached_no_model(found: str, counts: bool | None) -> None:
    """All but the gateway's own, and among a key's requests per minute what HAProxy itself counts there."""
    request = read_line(found.rstrip().encode())
    assert (request.counts if request else None) is counts


def test_a_line_counts_when_it_is_whole(log: Path, ledger: Ledger) -> None:
    """What broke off on a full disk costs only itself."""
    whole = line()
    write(log, whole[:50])
    assert ledger.fold() == 0
    write(log, whole[50:] + whole[:50] + whole + "rubbish\n")
    assert ledger.fold() == 2


def test_a_large_log_moves(log: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a second file that others can't read; HAProxy's descriptor stays good, nothing is counted twice."""
    monkeypatch.setattr(access_log, "LIMIT", 1000)
    with log.open("a") as haproxy:
        for number in range(50):
            haproxy.write(line(NOW + number))
            haproxy.flush()
            ledger.fold()
            ledger = Ledger(log, tmp_path / "records" / "demo.sqlite") if number % 7 == 0 else ledger
    assert totals(ledger) == [("team", "a", 50, 0, 0, 0, 0)]
    assert log.stat().st_size < 1000 + 2 * len(line())
    assert log.with_suffix(".1.log").stat().st_mode & 0o777 == 0o600


def test_a_killed_reader_counts_nothing_twice(log: Path, tmp_path: Path) -> None:
    """Kill -9 in the middle, with two of them at once: the next one goes on where the last one was."""
    database = tmp_path / "demo.sqlite"
    for _ in range(3):
        argv = [sys.executable, "-c", READER, str(log), str(database)]
        readers = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(2)]
        for reader in readers:
            assert reader.stdout
            assert reader.stdout.readline()
        for _ in range(100):
            write(log, line(prompt_tokens=1, completion_tokens=0) * 5)
        for reader in readers:
            reader.kill()
            reader.communicate()
    ledger = Ledger(log, database)
    ledger.fold()
    assert totals(ledger) == [("team", "a", 1500, 0, 1500, 0, 0)]


def test_broken_records_are_set_aside(log: Path, tmp_path: Path) -> None:
    """History is lost, counting goes on."""
    database = tmp_path / "demo.sqlite"
    database.write_bytes(b"no database" * 1000)
    write(log, line())
    assert Ledger(log, database).fold() == 1
    assert len(list(tmp_path.glob("demo.broken-*"))) == 1
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_is_tried_again(log: Path, ledger: Ledger, tmp_path: Path) -> None:
    """While somebody else holds the records nothing is lost."""
    ledger._database.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(tmp_path / "records" / "demo.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write(log, line())
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ledger.fold()
    other.execute("ROLLBACK")
    assert ledger.fold() == 1


def test_old_minutes_become_days(log: Path, ledger: Ledger) -> None:
    """One row for each day, with the same sums."""
    day = int(time.time()) // DAY * DAY - 40 * DAY
    write(log, line(day + 60, prompt_tokens=1) + line(day + 7200, prompt_tokens=2) + line(day + DAY, prompt_tokens=4))
    ledger.fold()
    spans = ledger._database.execute("SELECT start, span, requests FROM usage").fetchall()
    assert spans == [(day, DAY, 2), (day + DAY, DAY, 1)]
    assert totals(ledger) == [("team", "a", 3, 0, 7, 0, 0)]
    assert [row.group for row in ledger.usage(day, day + DAY, ["day"])] == [(day,)]


def test_a_key_without_tokens_left(log: Path, ledger: Ledger) -> None:
    """Of the minute until the next, of the day until midnight UTC."""
    write(log, line(prompt_tokens=60, completion_tokens=40) + line(NOW - 2 * MINUTE, prompt_tokens=900))
    ledger.fold()
    tokens = ledger.tokens(NOW + 1)
    assert tokens == {"team": (100, 1000)}
    minute, day = int(NOW) // MINUTE * MINUTE + MINUTE, int(NOW) // DAY * DAY + DAY
    for limits, until in [((100, None), minute), ((101, None), None), ((1, 1000), day), ((None, 1001), None)]:
        rule = KeyRule("team", (), tokens_per_minute=limits[0], tokens_per_day=limits[1])
        assert spent([rule, KeyRule("other", ())], tokens, NOW + 1) == ({"team": until} if until else {})


def test_recent_requests(log: Path, ledger: Ledger) -> None:
    """Those of this minute and the last by key, as HAProxy's table has them."""
    now = time.time()
    write(log, line(now) * 3 + line(now - 300) + line(now, key="-") + line(now, model="-", status=429))
    ledger.fold()
    assert ledger.recent_requests() == {f"team/{int(now - 0.04) // 60}": 3}
