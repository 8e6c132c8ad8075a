"""A first file: by what is installed, and by what a person answers on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rayllm import Backend, Command, Engine, Environment, ModelSource, Options
from rayllm.cli.first_file import EXAMPLE, Choices
from rayllm.config import load
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

BOUND_S = 60.0
MAIN = "from rayllm.cli import main; main()"
PLUGIN = """
    from pathlib import Path
    from rayllm import Backend, Command, Engine, Environment, ModelSource, Options, hookimpl

    @hookimpl
    def rayllm_engines():
        for name in ("reader", "other"):
            yield Engine(
                name=name, summary=f"the {name}", options=Options, environment=Environment(()),
                commands=lambda launch: [Command()], capabilities={"gguf"} if name == "reader" else (),
            )

    @hookimpl
    def rayllm_backends():
        for name in ("local", "far"):
            where = (lambda options, name: "https://far") if name == "far" else None
            yield Backend(
                name=name, summary=f"the {name} one", options=Options, open=lambda options: None, endpoint=where
            )

    @hookimpl
    def rayllm_model_sources():
        for scheme in ("package", "file"):
            yield ModelSource(
                scheme=scheme, summary="", fetch=lambda *_: Path(),
                check=lambda uri: None if "/" in uri else f"{uri} has no path",
            )
"""


class Terminal:
    """`rayllm init --interactive` on a terminal."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        ours, theirs = pty.openpty()
        env = {
            **os.environ,
            "PYTHONPATH": str(site),
            "RAYLLM_PLUGINS_DISABLED": "core,backend-local,engine-vllm,engine-fake",
        }
        argv = [sys.executable, "-c", MAIN, "init", "--interactive"]
        self.process = subprocess.Popen(argv, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._screen = ours
        self.shown = ""

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type."""
        self.wait_for(question)
        self.shown = ""
        os.write(self._screen, f"{text}\n".encode())

    def wait_for(self, text: str) -> None:
        """Wait until it is shown."""
        end = time.monotonic() + BOUND_S
        while text not in self.shown:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, end - time.monotonic()))
            assert ready, self.shown
            self.shown += self._read()

    def _read(self) -> str:
        try:
            return os.read(self._screen, 4096).decode()
        except OSError:  # Linux's word for the end of a terminal
            raise AssertionError(f"it ended: {self.shown}") from None

    def close(self) -> int:
        """Wait for the end; its exit status."""
        status = self.process.wait(BOUND_S)
        os.close(self._screen)
        return status


@pytest.fixture
def terminal(site: Site, tmp_path: Path) -> Iterator[Terminal]:
    """Beside two engines, two backends and two sources."""
    site.add("all", PLUGIN)
    folder = tmp_path / "folder"
    folder.mkdir()
    made = Terminal(folder, site.path)
    yield made
    made.process.kill()  # where a test failed: it waits for an answer
    made.process.wait(BOUND_S)


def test_four_answers_make_a_file(terminal: Terminal) -> None:
    """An empty answer takes the default; a wrong one is asked for again, with why."""
    terminal.answer("Where shall it run [local]:", "")
    terminal.answer("Which engine [reader]:", "othre")
    terminal.answer("did you mean", "other")
    terminal.answer("Which model [/models/my-model]:", "s4:x/y")
    terminal.answer("no model source", "/models/Llama 3")
    terminal.answer("[8000]:", "70000")
    terminal.answer("from 1 to 65535", "8123")
    terminal.wait_for("Wrote rayllm.yaml (llama-3 with other on local). Next: rayllm up")
    assert terminal.close() == 0
    text = (terminal.folder / "rayllm.yaml").read_text()
    assert "  llama-3: " in text
    assert "port: 8123" in text


def test_no_port_is_asked_for_where_the_platform_gives_it(terminal: Terminal) -> None:
    """Three answers make the file."""
    terminal.answer("Where shall it run [local]:", "far")
    terminal.answer("Which engine [reader]:", "")
    terminal.answer("Which model [", "/models/llama")
    terminal.wait_for("Wrote rayllm.yaml (llama with reader on far). Next: rayllm up")
    assert terminal.close() == 0
    assert "port" not in (terminal.folder / "rayllm.yaml").read_text()


def test_no_answer_writes_nothing(terminal: Terminal) -> None:
    """Ctrl-D is as Ctrl-C: exit status 130, as elsewhere."""
    terminal.wait_for("Where shall it run [local]:")
    os.write(terminal._screen, b"\x04")
    assert terminal.close() == 130
    assert list(terminal.folder.iterdir()) == []


def test_nobody_is_there_to_answer(tmp_path: Path) -> None:
    """An error with what to do, at once."""
    argv = [sys.executable, "-c", MAIN, "init", "--interactive"]
    done = subprocess.run(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nobody is here to answer questions\n  do ")


def made_up(*engines: str, gguf: tuple[str, ...] = (), backends: tuple[str, ...] = ("local",)) -> Plugins:
    """What is installed."""
    plugins = Plugins.discover([], disabled="")

    def never(*_: Any) -> Any:
        raise AssertionError

    for name in engines:
        plugins.engines[name] = Engine(
            name=name,
            summary="",
            options=Options,
            environment=Environment(()),
            commands=lambda _: [Command()],
            capabilities={"gguf"} if name in gguf else (),
        )
    for name in backends:
        plugins.backends[name] = Backend(name=name, summary="", options=Options, open=never)
    for scheme in ("file", "package"):
        plugins.sources[scheme] = ModelSource(scheme=scheme, summary="", check=lambda _: None, fetch=never)
    return plugins


@pytest.mark.parametrize(
    ("plugins", "backend", "engine", "source"),
    [
        (made_up("a", "b", gguf=("b",)), "local", "b", EXAMPLE),
        (made_up("b", "a"), "local", "a", "/models/my-model"),
        (made_up("a", backends=("x", "y")), "x", "a", "/models/my-model"),
        (made_up(backends=()), "local", "vllm", EXAMPLE),
    ],
)
def test_defaults_fit_what_is_installed(
    plugins: Plugins, backend: str, engine: str, source: str, tmp_path: Path
) -> None:
    """And the file is right, as soon as anything is installed."""
    choices = Choices.of_what_is_installed(plugins)
    assert (choices.backend, choices.engine, choices.source) == (backend, engine, source)
    file = tmp_path / "rayllm.yaml"
    file.write_text(choices.text())
    if plugins.engines:
        assert load(file, plugins, {}).config.cluster.backend == backend


def test_the_backends_options_are_named() -> None:
    """An existing cluster has an address, which no question asks for."""

    class Addressed(Options):
        address: str = "http://127.0.0.1:8265"

    plugins = made_up("a")
    plugins.backends["local"] = replace(plugins.backends["local"], options=Addressed)
    assert "  # options: {}                 # its own: address\n" in Choices.of_what_is_installed(plugins).text()


def test_no_address_where_the_platform_gives_it(tmp_path: Path) -> None:
    """It would say nothing there."""
    plugins = made_up("a")
    assert "\n  port: 8000\n" in Choices.of_what_is_installed(plugins).text()
    plugins.backends["local"] = replace(plugins.backends["local"], endpoint=lambda _, name: f"https://{name}.example")
    text = Choices.of_what_is_installed(plugins).text()
    assert "gateway" not in text
    assert text.endswith("it runs on the CPU\n")
    file = tmp_path / "rayllm.yaml"
    file.write_text(text)
    assert load(file, plugins, {}).unused == []


@pytest.mark.parametrize(
    ("source", "model"),
    [
        (EXAMPLE, "smollm2"),
        ("/models/Llama 3/", "llama-3"),
        ("hf://Qwen/Qwen3-0.6B@main", "qwen3-0.6b"),
        ("package:tiny/m.gguf", "m"),
        ("/", "model"),
        ("/models/gateway", "model"),
        ("~/x # y: z", "x"),
    ],
)
def test_a_models_name_by_its_source(source: str, model: str, tmp_path: Path) -> None:
    """One that the file may have, whatever stands in the source."""
    plugins = made_up("a", gguf=("a",))
    plugins.sources["hf"] = plugins.sources["file"]
    has: Any = {"limits_length": False, "has_dtype": False}
    choices = Choices(backend="local", backend_summary="", engine="a", source=source, **has)
    assert choices.model == model
    file = tmp_path / "rayllm.yaml"
    file.write_text(choices.text())
    assert load(file, plugins, {}).config.models[model].source == source


@pytest.mark.parametrize("source", [EXAMPLE, "/models/own"])
def test_the_examples_model_is_asked_in_full_precision(source: str) -> None:
    """Where the engine can be told: of so small a model 16 bits leave little. A person's own is left alone."""
    told = Choices(backend="local", backend_summary="", engine="a", source=source, limits_length=False).text()
    assert ("dtype: float32" in told) == (source == EXAMPLE)
    assert ("options:" in told) == (source == EXAMPLE)
