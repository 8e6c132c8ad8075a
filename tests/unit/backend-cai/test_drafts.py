"""Files that pods write on the disk that they share."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rayllm_backend_cai.bootstrap.drafts import write_whole


def test_two_pods_write_one_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their processes have the same pid; each writes its own, for this user alone, and no draft is left."""
    file, real = tmp_path / "folder/head.json", Path.replace

    def replace(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", real)
        write_whole(target, "the other's")
        assert target.read_text() == "the other's"
        return real(draft, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_whole(file, "mine")
    assert file.read_text() == "mine"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_can_not_be_written_stays(tmp_path: Path) -> None:
    """As it was, and no draft is left."""
    file = tmp_path / "head.json"
    write_whole(file, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "half \ud800")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
