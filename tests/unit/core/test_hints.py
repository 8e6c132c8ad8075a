"""Commands that texts name, with the file that the person gave."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from rayllm.cli import _run, hints
from rayllm.cli.app import COMMANDS, GROUPS
from rayllm.cli.hints import remember, with_file
from rayllm.cli.options import DEFAULT_FILE, FileOption
from rayllm.cli.output import Output
from rayllm.errors import ClusterError


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a test remembers is for itself."""
    yield
    remember(DEFAULT_FILE)


def test_every_command_that_reads_the_file_is_known() -> None:
    """All but `init`, which writes it, and `env`, which has another meaning of `-f`."""
    commands = [*COMMANDS, *(verb for verbs in GROUPS.values() for verb in verbs)]
    found = {one.__name__.replace("_", " "): get_type_hints(one, include_extras=True) for one in commands}
    reading = {name for name, told in found.items() if told.get("file") == FileOption}
    assert {name for name in reading if re.fullmatch(hints.COMMANDS, name)} == reading - {"init"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wait: rayllm status small --watch", "wait: rayllm status -f 'my prod.yaml' small --watch"),
        ("rayllm down, then rayllm up", "rayllm down -f 'my prod.yaml', then rayllm up -f 'my prod.yaml'"),
        ("more: rayllm nodes logs demo-1", "more: rayllm nodes logs -f 'my prod.yaml' demo-1"),
        ("rayllm validate -f x.yaml tells all", "rayllm validate -f x.yaml tells all"),
        ("rayllm explain memory; rayllm keys new", "rayllm explain memory; rayllm keys new"),
        ("rayllm upper", "rayllm upper"),
    ],
)
def test_the_file_is_repeated(text: str, shown: str) -> None:
    """Where somebody named one, and where it belongs."""
    assert with_file(text) == text
    remember(Path("my prod.yaml"))
    assert with_file(text) == shown
    assert with_file(shown) == shown
    remember(DEFAULT_FILE)
    assert with_file(text) == text


def test_what_is_no_hint_stays() -> None:
    """An engine's log, an answer, JSON."""
    out, err = io.StringIO(), io.StringIO()
    output = Output(out, err)
    remember(Path("x.yaml"))
    output.write("rayllm up\n")
    output.print_json("rayllm up")
    output.say("rayllm up")
    output.note("rayllm up")
    assert out.getvalue().splitlines() == ["rayllm up", '"rayllm up"', "rayllm up -f x.yaml"]
    assert err.getvalue() == "rayllm up -f x.yaml\n"


@pytest.mark.parametrize(("told", "shown"), [(["-f", "x.yaml"], "rayllm up -f x.yaml"), ([], "rayllm up")])
def test_the_error_that_ends_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], told: list[str], shown: str
) -> None:
    """Its cure can be copied."""

    def refuse(*_: object, **__: object) -> None:
        raise ClusterError("demo is not running", cure="start it: rayllm up")

    monkeypatch.setattr("rayllm.cli.opening.open_file", refuse)
    monkeypatch.setattr("sys.argv", ["rayllm", "status", *told])
    with pytest.raises(SystemExit):
        _run()
    assert capsys.readouterr().err == f"demo is not running\n  do     start it: {shown}\n"
