"""The environments of this machine: what state they are in, who uses them, and what may go."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayllm import Command, Device, Engine, Environment, InputError, Options
from rayllm.machine.building import build
from rayllm.machine.environments import check, environments, removable, remove, wanted_environments
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import folder_of
from rayllm.serving.prepare.marker import MARKER
from rayllm.serving.processes.file_lock import open_locked

CPU = Device(kind="cpu")
WANTED = Environment(["tiny==1"], imports=["json"])


class Machine:
    """A home with environments in it, and the plugins beside it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.plugins = Plugins.discover([], disabled="")
        self.plugins.engines["tiny"] = Engine(
            name="tiny", summary="", options=Options, environment={"cpu": WANTED}, commands=lambda _: [Command()]
        )

    def add(self, name: str = "", *, finished: bool = True) -> Path:
        """An environment of one package, by default the one that `tiny` asks for."""
        folder = folder_of("tiny", WANTED, CPU).with_name(name) if name else folder_of("tiny", WANTED, CPU)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/python").symlink_to(sys.executable)
        info = folder / "lib/python3/site-packages/tiny-1.dist-info"
        info.mkdir(parents=True)
        (info.parent / "tiny.py").write_text("1234")
        (info / "RECORD").write_text("tiny.py,sha256=x,4\ntiny-1.dist-info/RECORD,,\n")
        if finished:
            facts = {"python": str(folder / "bin/python"), "requirements": "", "uv": "uv 1", "date": "2026-01-02"}
            (folder / MARKER).write_text(json.dumps(facts))
        return folder

    def one(self) -> Any:
        """The only environment."""
        (found,) = environments(self.plugins)
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Its home is empty."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    return Machine(tmp_path)


def test_there_are_none(machine: Machine) -> None:
    """A home that does not exist yet is no error."""
    assert environments(machine.plugins) == []


def test_one_that_is_whole(machine: Machine) -> None:
    """Everything a person asks about it."""
    folder = machine.add()
    found = machine.one()
    assert (found.name, found.engine, found.device) == (folder.name, "tiny", "cpu")
    assert (found.state, found.wanted, found.used_by, found.packages) == ("ready", True, [], 1)
    assert (found.python, found.built) == (".".join(map(str, sys.version_info[:3])), "2026-01-02")
    assert found.size > 4
    assert check(found, machine.plugins).state == "whole"
    assert removable([found], everything=False) == []


def test_its_python_is_gone(machine: Machine) -> None:
    """As after an upgrade of the machine's Python: told with what to do, and free to go."""
    folder = machine.add()
    (folder / "bin/python").unlink()
    (folder / "bin/python").symlink_to("/gone/python3")
    found = machine.one()
    assert (found.state, found.python) == ("broken", "")
    verdict = check(found, machine.plugins)
    assert verdict.cause == "its Python is gone, or does not run"
    assert verdict.cure == "build it anew: rayllm env build tiny --device cpu"
    assert removable([found], everything=False) == [found]


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_file_is_damaged(machine: Machine, harm: str) -> None:
    """Gone, or of another size than the package's record says."""
    file = machine.add() / "lib/python3/site-packages/tiny.py"
    file.unlink() if harm == "missing" else file.write_text("12345")
    verdict = check(machine.one(), machine.plugins)
    assert (verdict.state, verdict.cause) == ("damaged", "1 files are missing or changed: tiny.py")


def test_an_import_fails(machine: Machine) -> None:
    """The interpreter's own words."""
    machine.plugins.engines["tiny"] = Engine(
        name="tiny",
        summary="",
        options=Options,
        environment=Environment(["tiny==1"], imports=["rayllm_not_there"]),
        commands=lambda _: [Command()],
    )
    machine.add()
    assert "No module named 'rayllm_not_there'" in check(machine.one(), machine.plugins).cause


def test_a_build_that_goes_on_and_one_that_was_killed(machine: Machine) -> None:
    """The lock tells them apart; what is being built stays, whatever is asked."""
    folder = machine.add(finished=False)
    lock = open_locked(folder.with_name(f".{folder.name}.lock"))
    assert lock
    with lock:
        found = machine.one()
        assert found.state == "building"
        assert removable([found], everything=True) == []
        assert not remove(found)
    found = machine.one()
    assert found.state == "unfinished"
    assert removable([found], everything=False) == [found]
    assert remove(found)
    assert not folder.exists()


def test_what_runs_is_seen_and_stays(machine: Machine) -> None:
    """A process that the environment's own Python runs."""
    folder = machine.add()
    argv = [str(folder / "bin/python"), "-c", "print(1, flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        found = machine.one()
        assert found.used_by == [process.pid]
        assert removable([found], everything=True) == []
        assert not remove(found)
        process.communicate(b"\n")
    assert remove(machine.one())


def test_what_nobody_asks_for_goes(machine: Machine) -> None:
    """That of an older version of the engine; the current one only with `--all`, the hub's own never without."""
    machine.add()
    old = machine.add("tiny-cpu-000000000000").name
    found = environments(machine.plugins)
    assert [one.name for one in removable(found, everything=False)] == [old]
    assert len(removable(found, everything=True)) == 2
    assert {engine for engine, _ in wanted_environments(machine.plugins).values()} == {"tiny", "hub", "s3", "gs", "az"}


def with_streamer(machine: Machine) -> Engine[Options]:
    """Give `tiny` an option that needs one more package."""
    engine = replace(machine.plugins.engines["tiny"], extras={"load_format": {"streamer": ["streamer==1"]}})
    machine.plugins.engines["tiny"] = engine
    return engine


def test_what_an_option_asks_for_stays(machine: Machine) -> None:
    """Both the engine's own environment and those with the option's packages, which say what they are for."""
    engine, options = with_streamer(machine), {"load_format": "streamer"}
    more = machine.add(folder_of("tiny", engine.environment_for(CPU, options=options), CPU).name)
    older = machine.add(folder_of("tiny", engine.environment_for(CPU, "0.9", options), CPU).name)
    facts = json.loads((older / MARKER).read_text())
    (older / MARKER).write_text(json.dumps({**facts, "version": "0.9"}))
    plain = machine.add()
    found = {one.name: one for one in environments(machine.plugins)}
    assert removable(list(found.values()), everything=False) == []
    told = {name: one.options for name, one in found.items()}
    assert told == {plain.name: {}, more.name: options, older.name: options}
    (older / "lib/python3/site-packages/tiny.py").unlink()
    cure = "rayllm env build tiny --device cpu --version 0.9 --option load_format=streamer"
    assert check(found[older.name], machine.plugins).cure == f"build it anew: {cure}"


def test_an_option_without_packages_of_its_own(machine: Machine) -> None:
    """Said before anything is begun, with those that have some."""
    with_streamer(machine)
    with pytest.raises(InputError, match="for load_format=auto") as caught:
        build(machine.plugins, "tiny", "cpu", lambda _: None, options=["load_format=auto"])
    assert "load_format=streamer" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("engine", "device", "words"),
    [("tinny", "cpu", "did you mean"), ("tiny", "cuda", "does not run on 'cuda'"), ("bare", "cpu", "needs no environ")],
)
def test_what_can_not_be_built(machine: Machine, engine: str, device: str, words: str) -> None:
    """Said before anything is begun."""
    machine.plugins.engines["bare"] = Engine(
        name="bare", summary="", options=Options, environment=Environment([]), commands=lambda _: [Command()]
    )
    with pytest.raises(InputError, match=words):
        build(machine.plugins, engine, device, lambda _: None)
