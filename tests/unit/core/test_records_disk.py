"""The records' file on a disk of the machine, and on one that several machines share."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rayllm.serving.records import database as records
from rayllm.serving.records.database import open_database, writing
from rayllm.serving.records.disk import is_own

MOUNTS = r"""22 1 0:2 / / rw,relatime - overlay overlay rw
23 22 0:3 / /home/cdsw rw,relatime shared:1 - nfs4 10.0.0.1:/projects/1 rw,vers=4.1
24 23 0:4 / /home/cdsw/own rw - ext4 /dev/sda1 rw
25 22 0:5 / /with\040space rw - fuse.gcsfuse gcsfuse rw
26 22 0:6 / /twice rw - xfs /dev/sdb rw
27 22 0:7 / /twice rw - ceph 10.0.0.2:/ rw
"""


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/var/a.sqlite", True),
        ("/home/cdsw/.rayllm/records/a.sqlite", False),
        ("/home/cdswx/a.sqlite", True),
        ("/home/cdsw/own/a.sqlite", True),
        ("/with space/a.sqlite", False),
        ("/twice/a.sqlite", False),
    ],
)
def test_whose_disk_it_is(tmp_path: Path, path: str, own: bool) -> None:
    """The nearest mount tells, the last of several at one place."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert is_own(Path(path), mounts) is own


def test_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    """What is safe everywhere is taken then."""
    assert is_own(tmp_path, tmp_path / "none") is False


@pytest.mark.parametrize(("own", "mode"), [(True, "wal"), (False, "truncate")])
def test_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool, mode: str) -> None:
    """Two have it open, as two gateways in an update; on a shared disk nothing of it is memory that they share."""
    monkeypatch.setattr(records, "is_own", lambda _: own)
    path = tmp_path / "records" / "a.sqlite"
    one, two = open_database(path), open_database(path)
    assert one.execute("PRAGMA journal_mode").fetchone() == two.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert path.with_name("a.sqlite-shm").exists() is own
    for number, database in enumerate((one, two)):
        with writing(database):
            database.execute("INSERT INTO log_position VALUES (?, 1, '')", (str(number),))
    assert one.execute("SELECT count(*) FROM log_position").fetchone() == (2,)
    one.close()
    two.close()


def test_records_of_another_kind_of_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was moved keeps what it holds."""
    path = tmp_path / "a.sqlite"
    for own in (True, False, True):
        monkeypatch.setattr(records, "is_own", lambda _, own=own: own)
        database = open_database(path)
        with writing(database):
            database.execute("INSERT OR IGNORE INTO log_position VALUES ('kept', 7, '')")
        assert database.execute("SELECT position FROM log_position").fetchall() == [(7,)]
        database.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
