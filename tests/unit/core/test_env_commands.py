"""`rayllm env` as a person and a program see it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import typer

from rayllm import Command, Device, Engine, Environment, InputError, Options
from rayllm.cli import discovery
from rayllm.cli.env import env_check, env_list, env_prune
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import folder_of
from rayllm.serving.prepare.marker import MARKER, Built, mark


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one environment, which is whole and which `tiny` asks for."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    wanted = Environment(["tiny==1"])
    plugins = Plugins.discover([], disabled="")
    plugins.engines["tiny"] = Engine(
        name="tiny", summary="", options=Options, environment={"cpu": wanted}, commands=lambda _: [Command()]
    )
    monkeypatch.setattr(discovery, "discover", lambda *_, **__: plugins)
    made = folder_of("tiny", wanted, Device(kind="cpu"))
    (made / "bin").mkdir(parents=True)
    (made / "bin/python").symlink_to(sys.executable)
    mark(made, Built(python=str(made / "bin/python"), requirements="", uv="", date="2026-01-02"))
    return made


def test_a_table_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same things; none at all is told with what to do."""
    env_list()
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "STATE", "PYTHON", "PACKAGES", "SIZE", "BUILT", "USE"]
    assert row.startswith(f"{folder.name}  ready")
    env_list(json=True)
    assert json.loads(capsys.readouterr().out)[0]["name"] == folder.name
    shutil.rmtree(folder)
    env_list()
    assert "rayllm env build ENGINE" in capsys.readouterr().out


def test_a_check_ends_with_1_where_something_is_damaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With cause and cure; a name that is not there is bad input."""
    env_check()
    assert capsys.readouterr().out == f"✔ {folder.name}  whole\n"
    (folder / MARKER).unlink()
    with pytest.raises(typer.Exit) as caught:
        env_check(folder.name)
    assert caught.value.exit_code == 1
    out = capsys.readouterr().out
    assert "  cause  its build did not finish\n  do     build it anew: rayllm env build tiny" in out
    with pytest.raises(InputError, match="no environment 'nope'"):
        env_check("nope")


def test_prune_asks_and_frees(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of what is whole; what is broken after a yes."""
    env_prune(everything=False, yes=True)
    assert capsys.readouterr().out == "Nothing to remove.\n"
    (folder / MARKER).unlink()
    with pytest.raises(InputError, match="nobody is here to answer"):
        env_prune(everything=False)
    assert folder.exists()
    env_prune(everything=False, yes=True)
    captured = capsys.readouterr()
    assert (captured.out, f"- {folder.name}  unfinished" in captured.err) == ("Done.\n", True)
    assert not folder.exists()
