"""The tutorials, as far as they go without a cluster; the session `wheels` walks through them to the end."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import threading
from argparse import Namespace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from docs import walk

from rayllm.plugins import Plugins
from rayllm.scaffold import make

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/tutorials/engine.md").read_text()
PACKAGE = "rayllm-engine-parrot/src/rayllm_engine_parrot"
MAIN = "from rayllm.cli import main; main()"
MODULE = '"""Words."""\n\n\ndef one() -> int:\n    """One."""\n    return 1\n\n\nTWO = 2\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader of the page about engines has come to in the end."""
    make("engine", "parrot", tmp_path, Plugins.discover([], disabled=""))
    for block in walk.blocks(PAGE):
        if block.file:
            walk.put(block, tmp_path)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> dict[str, Any]:
    """What the edited `server.py` defines."""
    return runpy.run_path(str(folder / PACKAGE / "server.py"))


def test_the_command_says_what_the_page_shows(tmp_path: Path) -> None:
    """Word for word; that the files are those of the page, the walk itself has seen."""
    console = next(block.text for block in walk.blocks(PAGE) if "$ rayllm plugins new" in block.text)
    argv = [sys.executable, "-c", MAIN, "plugins", "new", "engine", "parrot"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == console.split("$ rayllm plugins new engine parrot\n")[1]


def test_the_plugin_has_60_lines(folder: Path) -> None:
    """As the page's title has it."""
    assert len((folder / PACKAGE / "__init__.py").read_text().splitlines()) <= 60


def test_the_edited_function_is_tested(server: dict[str, Any]) -> None:
    """By the test that the page puts into the place of the old one."""
    (test,) = (block for block in walk.blocks(PAGE) if block.file and block.file.endswith("test_plugin.py"))
    space = {"answer": server["answer"]}
    exec(test.text, space)  # noqa: S102  the page is ours
    space["test_an_answer"]()


def test_the_edited_server_answers(server: dict[str, Any]) -> None:
    """What the page shows, over HTTP."""
    told = Namespace(host="127.0.0.1", port=0, model="parrot", prefix="You said: ")
    with server["Server"](told) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        connection = HTTPConnection("127.0.0.1", running.server_port, timeout=10)
        body = {"model": "parrot", "messages": [{"role": "user", "content": "good morning"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        with connection.getresponse() as answer:
            said = json.load(answer)["choices"][0]["message"]["content"]
        connection.close()
        running.shutdown()
    assert f"\n{said}\n" in PAGE


def test_a_block_has_its_place() -> None:
    """A console has none; any other one needs the name of a file above it."""
    (console, code, behind) = walk.blocks(
        "Run:\n\n```console\n$ ls\n```\n\nIn `a.py`:\n\n```python\nx = 1\n```\n\n```console\n$ cat a.py\n```\n"
    )
    assert (console.file, console.text) == (None, "$ ls\n")
    assert (code.file, code.text) == ("a.py", "x = 1\n")
    assert (behind.file, behind.text) == (None, "$ cat a.py\n")
    with pytest.raises(ValueError, match="no file is named above the block after 'So:'"):
        list(walk.blocks("So:\n\n```python\nx = 1\n```\n"))


def test_a_block_is_put_into_its_file(tmp_path: Path) -> None:
    """New, the same, or one function of it; a page that shows another file than there is fails."""
    place = "deep/a.py"
    for _ in range(2):
        walk.put(walk.Block("python", MODULE, place), tmp_path)
    assert (tmp_path / place).read_text() == MODULE
    walk.put(walk.Block("python", "def one() -> int:\n    return 7\n", place), tmp_path)
    assert (tmp_path / place).read_text() == '"""Words."""\n\n\ndef one() -> int:\n    return 7\n\n\nTWO = 2\n'
    with pytest.raises(ValueError, match=r"deep/a\.py is not what the page shows"):
        walk.put(walk.Block("python", MODULE, place), tmp_path)
    with pytest.raises(ValueError, match="there is no function two"):
        walk.put(walk.Block("python", "def two() -> int:\n    return 2\n", place), tmp_path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("$ echo a; echo b\na\nb\n", None),
        ("$ echo 'a     b'\na b\n$ true\n", None),
        ("$ echo in 12 s, done\nin … s, done\n", None),
        ("$ echo a \\\n    b\na b\n", None),
        ("$ command -v python\n…/bin/python\n", None),
        ("$ echo a\nb\n", "echo a did not print what the page shows:\nb"),
        ("$ echo a b\na\n", "echo a b did not print what the page shows:\na"),
        ("$ exit 3\n", "exit 3 ended with 3"),
    ],
)
def test_a_console_is_run(text: str, wrong: str | None, tmp_path: Path) -> None:
    """Each command has to end well and to print what stands below it."""
    block = walk.Block("console", text, None)
    if wrong is None:
        walk.run(block, tmp_path)
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
        walk.run(block, tmp_path)
    assert str(caught.value) == wrong
