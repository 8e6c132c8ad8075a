"""The tutorial about backends, walked through as a reader does: its files, its commands, its tests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docs import walk
from tests.conftest import free_port, until
from tests.unit.core.conftest import Site

PAGE = (Path(__file__).parents[3] / "docs/tutorials/backend.md").read_text()
PLACE = "rayllm-backend-farm"
FARM_PORT = "8700"
GATEWAY_PORT = "8000"
INSTALL = "$ pip install"
ENGINE = """
from rayllm import Command, Engine, Environment, Options, hookimpl

def commands(launch):
    return [Command(launch.python, "--host", launch.host, "--port", str(launch.port))]

@hookimpl
def rayllm_engines():
    yield Engine(name="vllm", summary="", options=Options, environment=Environment(()), commands=commands)
"""


@pytest.fixture
def page(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> list[walk.Block]:
    """The page's blocks with other ports; its files are there and installed, and an engine of the name they use."""
    ports = {FARM_PORT: str(free_port()), GATEWAY_PORT: str(free_port())}
    text = PAGE
    for port, other in ports.items():
        text = text.replace(port, other)
    text = text.replace("name: barn\n", f"name: barn\ngateway: {{port: {ports[GATEWAY_PORT]}}}\n")
    blocks = list(walk.blocks(text))
    for block in blocks:
        if block.file:
            walk.put(block, tmp_path)
    site.add("engine-vllm", ENGINE)
    info = site.path / "rayllm_backend_farm-0.1.0.dist-info"
    info.mkdir()
    needs = next(
        re.findall(r'"(rayllm-core>[^"]+)"', block.text)[0] for block in blocks if "rayllm-core>" in block.text
    )
    told = f"Metadata-Version: 2.1\nName: rayllm-backend-farm\nVersion: 0.1.0\nRequires-Dist: {needs}\n"
    (info / "METADATA").write_text(told)
    (info / "entry_points.txt").write_text("[rayllm]\nbackend-farm = rayllm_backend_farm\n")
    paths = [str(tmp_path / PLACE / "src"), str(site.path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    return blocks


@pytest.fixture
def farm(tmp_path: Path, page: list[walk.Block]) -> Iterator[None]:
    """The platform in a terminal of its own."""
    program = tmp_path / PLACE / "tests/farm.py"
    port = next(int(port) for block in page for port in re.findall(r"Farm\((\d+)\)", block.text))
    with subprocess.Popen([sys.executable, str(program)]) as process:
        until("Farm listens", lambda: listens(port), 15)
        yield
        process.terminate()


def listens(port: int) -> bool:
    """Whether a program does on loopback."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def console(page: list[walk.Block], word: str) -> walk.Block:
    """The one block of the console with this command, without what installs: that is done."""
    (found,) = (block for block in page if block.file is None and f"$ {word}" in block.text)
    parts = [part for part in found.text.split("\n$ ") if INSTALL not in f"$ {part}"]
    return replace(found, text="$ " + "\n$ ".join(parts).removeprefix("$ "))


def test_the_plugin_is_found(tmp_path: Path, page: list[walk.Block]) -> None:
    """As the page shows it."""
    walk.run(console(page, "rayllm plugins"), tmp_path)


@pytest.mark.usefixtures("farm")
def test_the_commands_say_what_the_page_shows(tmp_path: Path, page: list[walk.Block]) -> None:
    """A cluster comes, is looked at and goes; nothing of it runs an engine."""
    walk.run(console(page, "rayllm up"), tmp_path)


def test_the_backend_keeps_the_rules(tmp_path: Path, page: list[walk.Block]) -> None:
    """By the page's own test file."""
    walk.run(console(page, "pytest"), tmp_path)
