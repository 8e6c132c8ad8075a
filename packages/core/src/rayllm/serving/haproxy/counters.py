"""What keys have asked for in this minute and the last: it lives in a worker's table and is handed to the next one.

HAProxy's own way (`peers`) made each update of a table dearer, and handed nothing over here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rayllm.serving.haproxy.access import MINUTES_TABLE
from rayllm.serving.haproxy.places import RUNTIME_SOCKET
from rayllm.serving.haproxy.sockets import ask

_AT_ONCE = 200
"""Commands on a line: what HAProxy reads has to fit into a buffer."""


def counted(run_dir: Path) -> dict[str, int]:
    """Requests by `ID/MINUTE`, as far as they still matter to a limit.

    Raises:
        OSError: HAProxy does not answer.
    """
    last = int(time.time()) // 60 - 1
    found = {}
    for line in ask(run_dir, RUNTIME_SOCKET, f"show table {MINUTES_TABLE}").splitlines():
        fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
        entry, count = fields.get("key", ""), int(fields.get("gpc0", 0))
        if count and int(entry.rpartition("/")[2] or 0) >= last:
            found[entry] = count
    return found


@contextmanager
def handed_over(run_dir: Path) -> Iterator[None]:
    """Around a reload: the new worker goes on from what the old one has counted.

    Raises:
        OSError: HAProxy does not answer.
    """
    entries = counted(run_dir)
    yield
    count(run_dir, entries)


def count(run_dir: Path, entries: Mapping[str, int]) -> None:
    """Add what another worker has counted.

    Raises:
        OSError: HAProxy does not answer.
    """
    if not entries:
        return
    own = counted(run_dir)
    for line in _lines({entry: number + own.get(entry, 0) for entry, number in entries.items()}):
        ask(run_dir, RUNTIME_SOCKET, line)


def _lines(entries: Mapping[str, int]) -> Iterator[str]:
    commands = [f"set table {MINUTES_TABLE} key {entry} data.gpc0 {number}" for entry, number in entries.items()]
    for start in range(0, len(commands), _AT_ONCE):
        yield ";".join(commands[start : start + _AT_ONCE])
