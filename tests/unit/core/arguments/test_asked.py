"""An environment that is asked for its engine's flags: once, on the node or before, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Checker

from rayllm import Backend, Device, Engine, Environment, InputError, Options
from rayllm.serving.prepare.arguments import arguments_at, check_arguments, check_command

CPU = Device(kind="cpu")
SOME = f"Some {version('packaging')}"
FILE = """
name: d
models:
  m: {{engine: some, source: /m, environment: {}, options: {{engine_args: {}}}}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A RAYLLM_HOME of the test's own."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def other(some: Engine[Any]) -> Engine[Any]:
    """The engine as another environment has it: one flag, and none of the pinned ones."""
    assert some.arguments is not None
    code = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--newer', type=int)\n"
    return replace(some, arguments=replace(some.arguments, parser=code))


@pytest.fixture
def broken(some: Engine[Any]) -> Engine[Any]:
    """The engine in an environment where it can't be imported."""
    assert some.arguments is not None
    return replace(some, arguments=replace(some.arguments, parser="import no_such_engine\n"))


def on_the_node(engine: Engine[Any], values: dict[str, Any], *, environment: str = "current") -> list[str]:
    """Check as a replica does; returns what it reported."""
    said: list[str] = []
    check_arguments(
        engine,
        {"engine_args": values},
        environment=environment,
        version=None,
        python="/built/python" if environment == "auto" else sys.executable,
        device=CPU,
        report=said.append,
    )
    return said


def test_it_is_asked_once(other: Engine[Any]) -> None:
    """The first time says that it takes long; then it is known."""
    said: list[str] = []
    first = arguments_at(other, sys.executable, CPU, said.append)
    assert [item.key for item in first.arguments] == ["newer"]
    assert said == [f"asking {sys.executable} which arguments its Some takes: up to a minute, this once"]
    assert arguments_at(other, sys.executable, CPU, said.append) == first
    assert len(said) == 1


def test_it_is_asked_again_when_something_else_is_installed(
    other: Engine[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another version of anything is another environment."""
    said: list[str] = []
    arguments_at(other, sys.executable, CPU, said.append)
    info = tmp_path / "more" / "added-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={info.parent} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    arguments_at(other, str(python), CPU, said.append)
    assert len(said) == 2


def test_a_list_that_was_half_written_is_asked_for_anew(other: Engine[Any], home: Path) -> None:
    """Nothing that is on disk stops a start."""
    found = arguments_at(other, sys.executable, CPU, lambda _: None)
    (file,) = home.glob("arguments/*.json")
    file.unlink()
    file.write_text("{")
    file.touch()
    assert arguments_at(other, sys.executable, CPU, lambda _: None) == found


def test_the_node_refuses_in_the_same_words(some: Engine[Any]) -> None:
    """All mistakes, before the engine starts."""
    with pytest.raises(InputError) as caught:
        on_the_node(some, {"max_tokns": 1, "port": 2, "sizes": ["x"]})
    assert caught.value.message.splitlines() == [
        f'options.engine_args.max_tokns: {SOME} has no such argument; did you mean "max-tokens"?',
        "options.engine_args.port: can't be set here: RayLLM chooses the port",
        'options.engine_args.sizes[0]: a whole number expected, found text "x"',
    ]


def test_the_node_asks_the_environment_that_will_run(other: Engine[Any]) -> None:
    """Its own flag is fine, one of the pinned list is not."""
    on_the_node(other, {"newer": 1})
    with pytest.raises(InputError, match=r"share: Some [0-9.]+ has no such argument"):
        on_the_node(other, {"share": 1})


def test_a_built_environment_is_not_asked(broken: Engine[Any]) -> None:
    """It is the pinned one."""
    assert on_the_node(broken, {"share": 1}, environment="auto") == []


def test_no_flags_no_question(broken: Engine[Any]) -> None:
    """A start without any is not held up."""
    assert on_the_node(broken, {}) == []


def test_an_environment_that_can_not_be_asked_is_left_to_itself(broken: Engine[Any]) -> None:
    """A note with the reason; what RayLLM sets is refused all the same."""
    _, note = on_the_node(broken, {"share": 1})
    assert note.startswith("the engine's arguments are left to itself to check: ")
    assert "No module named 'no_such_engine'" in note
    with pytest.raises(InputError, match="RayLLM chooses the port"):
        on_the_node(broken, {"port": 1})


def test_another_version_is_asked_for_every_flag_it_gets(other: Engine[Any]) -> None:
    """Also those that RayLLM's options become; the version that the plugin is made for is not asked."""
    engine = replace(other, environment=Environment(["packaging==1.0"], provides="packaging"))

    def check(version: str | None, *argv: str) -> None:
        check_command(engine, argv, version=version, python=sys.executable, device=CPU, report=lambda _: None)

    check("2.0", "python", "-m", "some", "--newer=3")
    check(None, "python", "--older", "1")
    with pytest.raises(InputError, match=f"{SOME} has no --older, --oldest") as caught:
        check("2.0", "python", "--older", "1", "--newer", "2", "--oldest=1")
    assert "take another `version:`" in str(caught.value.cure)


def mistakes(check: Checker, engine: Engine[Any], environment: str, capability: str) -> tuple[list[str], list[str]]:
    """What `validate` finds with a backend of that capability, and what it notes."""
    from rayllm.config import ConfigErrors, load

    check.plugins.engines["some"] = engine
    backend = Backend(name="local", summary="", options=Options, open=lambda _: None, capabilities={capability})  # type: ignore[arg-type,return-value]
    check.plugins.backends["local"] = backend
    Path("f").write_text(FILE.format(environment, "{newer: 1, share: 2}"))
    notes: list[str] = []
    try:
        load(Path("f"), check.plugins, {}, notes.append)
    except ConfigErrors as error:
        return [one.message for one in error.problems], notes
    return [], notes


@pytest.mark.parametrize("environment", ["current", sys.executable, sys.prefix])
def test_validate_asks_an_environment_on_this_machine(check: Checker, other: Engine[Any], environment: str) -> None:
    """Where the backend's nodes are this machine."""
    found, notes = mistakes(check, other, environment, "this-machine")
    assert found == [f"{SOME} has no such argument"]
    assert "up to a minute" in notes[0]


def test_validate_leaves_other_machines_alone(check: Checker, other: Engine[Any]) -> None:
    """The path means something there, not here."""
    assert mistakes(check, other, sys.prefix, "create") == ([], [])


def test_validate_notes_what_it_can_not_ask(check: Checker, other: Engine[Any], broken: Engine[Any]) -> None:
    """No such path, or an engine that can't be imported: no mistake of the file."""
    found, notes = mistakes(check, other, "/no/such/environment", "this-machine")
    assert (found, len(notes)) == ([], 1)
    assert notes[0].startswith("the arguments of some can't be checked before it starts: /no/such/environment")
    assert "No module named 'no_such_engine'" in mistakes(check, broken, "current", "this-machine")[1][-1]
