"""The command that compares the lists of plugins with their engines."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayllm import Engine
from rayllm.plugins import Plugins
from rayllm.serving.prepare import pinned_arguments
from rayllm.serving.prepare.pinned_arguments import main


@pytest.fixture
def list_of_one(
    some: Engine[Any], listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """A copy of the invented engine's list, of which it is the only one installed; and its lines."""
    assert some.arguments is not None
    file = tmp_path / "cpu.json"
    file.write_text(listed.read_text())
    engine = replace(some, arguments=replace(some.arguments, pinned={"cpu": file}))
    plugins = Plugins()
    plugins.engines["some"] = engine
    monkeypatch.setattr(Plugins, "discover", lambda: plugins)
    monkeypatch.setattr(pinned_arguments, "ensure_environment", lambda *_: sys.executable)
    return file, listed.read_text().splitlines()


def test_no_difference(list_of_one: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Says so, and leaves nothing behind."""
    assert main([]) == 0
    assert capsys.readouterr().out == f"{list_of_one[0]} is what some says\n"
    assert list(list_of_one[0].parent.iterdir()) == [list_of_one[0]]


def test_a_difference(list_of_one: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Fails and shows the line; with --write the list is corrected."""
    file, lines = list_of_one
    wrong = [line for line in lines if '"--share"' not in line]
    file.write_text("\n".join(wrong) + "\n")
    assert main(["cpu"]) == 1
    assert '+  {"names": ["--share"], "type": "float"},' in capsys.readouterr().out
    assert file.read_text().splitlines() == wrong
    assert main(["--write"]) == 0
    assert file.read_text().splitlines() == lines
    assert main([]) == 0


def test_other_kinds_are_left_alone(list_of_one: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """As the person said."""
    list_of_one[0].unlink()
    assert main(["cuda"]) == 0
    assert capsys.readouterr().out == ""
