"""The fake engine's plugin: options in, argv out, and argv that the server takes."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest
from pydantic import ValidationError

from rayllm import Command, Device, Launch
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.testing.fake_engine import SERVER, FakeOptions, rayllm_engines
from rayllm.testing.fake_openai.server import Knobs, Server


def command(options: FakeOptions) -> Command:
    """The fake engine's one command."""
    (engine,) = rayllm_engines()
    launch = Launch(
        python=sys.executable,
        model_path="/models/m",
        model_name="small",
        options=options,
        host="127.0.0.1",
        port=0,
        device=Device(kind="cpu"),
    )
    (only,) = engine.commands(launch)
    return only


def test_no_options_no_flags() -> None:
    """What is left out is left to the server."""
    assert command(FakeOptions()).argv[1:] == (
        *("-I", str(SERVER), "--model", "small", "--model-path", "/models/m"),
        *("--host", "127.0.0.1", "--port", "0"),
    )


def test_every_option_reaches_the_server() -> None:
    """The server takes all flags, also a text that looks like one."""
    told = {
        "answer": "-hi",
        "start_s": 0.01,
        "token_s": 1,
        "fail_start": "--help me",
        "fail_rank": 0,
        "crash_after": 0,
        "hang_after": 0,
        "max_loras": 2,
        "max_lora_rank": 8,
    }
    argv = command(FakeOptions.model_validate({**told, "enable_lora": True})).argv
    assert len(argv) == len(command(FakeOptions()).argv) + len(told) + 1
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "--help me")


@pytest.mark.parametrize("wrong", [{"token_s": -1}, {"crash_after": 1.5}, {"answer": " "}, {"nothing": 1}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    """The options are as strict as any engine's."""
    with pytest.raises(ValidationError):
        FakeOptions.model_validate(wrong)


def test_its_gauges_are_metrics_of_the_server() -> None:
    """Every gauge that the engine names is one that the server has."""
    (engine,) = rayllm_engines()
    assert engine.gauges is not None
    names = {line.partition("{")[0] for line in Server(Knobs("small", "hi")).metrics().splitlines()}
    assert {engine.gauges.running, engine.gauges.waiting, engine.gauges.generated} < names


@pytest.mark.parametrize("choice", ["auto", "current"])
def test_it_runs_on_the_nodes_own_python(choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that requires nothing is the node's own Python: nothing is built."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    (engine,) = rayllm_engines()
    assert ensure_environment(engine, choice, Device(kind="cpu"), lambda _: None) == sys.executable
    assert not (tmp_path / "home").exists()


def test_it_runs_on_any_python_that_is_named(tmp_path: Path) -> None:
    """Also on a bare environment, for the server needs only the standard library."""
    venv.create(tmp_path / "bare", with_pip=False)
    (engine,) = rayllm_engines()
    python = ensure_environment(engine, str(tmp_path / "bare"), Device(kind="cpu"), lambda _: None)
    assert python == str(tmp_path / "bare/bin/python")
    done = subprocess.run([python, "-I", str(SERVER), "--help"], capture_output=True, timeout=20, check=False)
    assert done.returncode == 0
