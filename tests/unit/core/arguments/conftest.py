"""An invented engine with one flag of every sort, and its list as the script writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, JsonValue

from rayllm import Command, Engine, EngineArguments, Environment, Options
from rayllm.arguments import dump
from rayllm.arguments.listing import ArgumentList, read_list
from rayllm.serving.prepare.interpreters import run_script

PARSER = '''
import argparse, json

class Off(argparse.BooleanOptionalAction):
    """Hides a flag from the help, as real engines do."""
    def __init__(self, option_strings, dest, **rest):
        super().__init__(option_strings, dest, **rest)
        self.option_strings = [*self.option_strings, "--disable-cache"]
    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string not in ("--no-enable-cache", "--disable-cache"))

def size(text):
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)

def maybe(text):
    return json.loads(text) if text.startswith("{") else text

parser = argparse.ArgumentParser()
parser.add_argument("model", nargs="?")
parser.add_argument("--max-seqs", "-ms", type=int)
parser.add_argument("--max-tokens", type=size)
parser.add_argument("--share", type=float)
parser.add_argument("--load_format")
parser.add_argument("--backend", choices=["flash", "plain", None], type=str)
parser.add_argument("--block", type=int, choices=[8, 16])
parser.add_argument("--eager", action=argparse.BooleanOptionalAction)
parser.add_argument("--enable-cache", action=Off)
parser.add_argument("--quiet", action="store_true")
parser.add_argument("--disable-stats", dest="stats", action="store_false")
parser.add_argument("--sizes", type=int, nargs="+")
parser.add_argument("--span", type=int, nargs=2)
parser.add_argument("--trace", nargs="?", const=True)
parser.add_argument("--plugin", action="append")
parser.add_argument("--graph-config", "-gc", type=json.loads)
parser.add_argument("--overrides", type=maybe)
parser.add_argument("--odd", type=lambda text: {}[text])
parser.add_argument("--port", "-p", type=int)
'''


class SomeOptions(Options):
    """As an engine's plugin declares them."""

    engine_args: dict[str, JsonValue] = Field(default_factory=dict)


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script writes about the parser above; packaging stands in for an engine's distribution."""
    import sys

    file = tmp_path_factory.mktemp("arguments") / "cpu.json"
    run_script(sys.executable, Path(dump.__file__), "packaging", str(file), code=PARSER)
    return file


@pytest.fixture
def known(listed: Path) -> ArgumentList:
    """The list, read."""
    return read_list(listed)


@pytest.fixture
def arguments(listed: Path) -> EngineArguments:
    """What the plugin would say."""
    owned = {"port": "RayLLM chooses the port", "max-seqs": "write `max_seqs:` beside engine_args"}
    return EngineArguments(title="Some", pinned={"cpu": listed}, parser=PARSER, owned=owned, dotted=True)


@pytest.fixture
def some(arguments: EngineArguments) -> Engine[SomeOptions]:
    """The engine; its package is one that the tests' Python has."""
    return Engine(
        name="some",
        summary="",
        options=SomeOptions,
        environment={"cpu": Environment(("packaging",))},
        commands=lambda _: [Command()],
        arguments=arguments,
    )
