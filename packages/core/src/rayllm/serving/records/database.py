"""The file with a deployment's records, on the gateway's node."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rayllm.paths import home
from rayllm.serving.records.disk import is_own

logger = logging.getLogger(__name__)
VERSION = 1
_WAIT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,                -- the API key's name
    from_file INTEGER NOT NULL,         -- 1 for one of the deployment's file
    digest TEXT NOT NULL,               -- SHA-256 in upper-case hexadecimal digits
    retiring TEXT NOT NULL,             -- JSON: [[digest, Unix time until which it is good], ...]
    created INTEGER NOT NULL,           -- Unix time in seconds
    revoked INTEGER,                    -- Unix time in seconds
    limits TEXT NOT NULL                -- JSON
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    start INTEGER NOT NULL,             -- Unix time in seconds
    span INTEGER NOT NULL,              -- seconds: a minute, or a day once it is old
    key TEXT NOT NULL,                  -- id of the API key, '' without one
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,         -- requests whose tokens no engine reported
    PRIMARY KEY (start, span, key, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_position (
    log TEXT PRIMARY KEY,               -- path of an access log
    position INTEGER NOT NULL,          -- bytes of it that are counted
    head TEXT NOT NULL                  -- tells its text from the one before it was emptied
) WITHOUT ROWID;
"""


def place_of(deployment: str) -> Path:
    """The file with a deployment's records."""
    return home() / "records" / f"{deployment}.sqlite"


def open_database(path: Path) -> sqlite3.Connection:
    """Open the records, made when missing, readable by this user alone; usable from any one thread at a time.

    A file that is broken, or of another version, is set aside beside it and a new one begun.

    Raises:
        OSError: the folder can't be written.
        sqlite3.OperationalError: the disk is full, or another process holds the file too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _open(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as broken:
        aside = path.with_suffix(f".broken-{path.stat().st_mtime_ns}")
        logger.warning("the records %s can't be read (%s): kept as %s, a new file begins", path, broken, aside.name)
        path.replace(aside)
        for beside in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        return _open(path)


@contextlib.contextmanager
def writing(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction that writes: all of it is kept, or nothing.

    Raises:
        sqlite3.OperationalError: the disk is full, or another process holds the file too long.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its other files the same rights
    database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        _choose_journal(database, path)
        _check_version(database)
        with writing(database):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _choose_journal(database: sqlite3.Connection, path: Path) -> None:
    """A write-ahead log, or where that can't be a journal: of ten rows 0.05 or 0.5 ms, twice a second at most.

    The log needs memory that all who have the file open share, which no disk of a network gives.
    """
    if is_own(path):
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
    else:
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute("PRAGMA synchronous = FULL")


def _check_version(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError(f"its version is {version}, this RayLLM knows {VERSION}")
