"""What a shell completes, asked as each shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from rayllm.cli import main; main()"
FILE = "name: a\nmodels: {llama: {engine: x, source: /m}, qwen: {engine: x, source: /m}, 7: {}}\n"


class Shell:
    """A person's shell in a folder with a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, line: str, code: str = MAIN) -> str:
        """What completes the line's last word."""
        variables = {"_RAYLLM_COMPLETE": f"complete_{name}", "RAYLLM_HOME": str(self.folder / "home")}
        if name == "bash":
            variables |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        else:
            variables |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """With three models."""
    (tmp_path / "rayllm.yaml").write_text(FILE)
    return Shell(tmp_path)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_commands_and_models(name: str, shell: Shell) -> None:
    """In every shell that is supported."""
    assert {"status", "env", "doctor"} <= set(shell(name, "rayllm ").replace('"', " ").replace(":", " ").split())
    assert "llama" in (said := shell(name, "rayllm logs l"))
    assert "qwen" not in said


def test_models_of_another_file(shell: Shell) -> None:
    """The one that `-f` names; without a file, or with one that is no YAML, there is nothing and no error."""
    (shell.folder / "b.yaml").write_text("models: {gemma: {}}")
    assert shell("bash", "rayllm logs -f b.yaml ").split() == ["gemma"]
    assert shell("bash", "rayllm status ").split() == ["7", "llama", "qwen"]
    for content in ("models: {", "[]", "models: 3"):
        (shell.folder / "rayllm.yaml").write_text(content)
        assert shell("bash", "rayllm logs ").split() == []
    (shell.folder / "rayllm.yaml").unlink()
    assert shell("bash", "rayllm logs ").split() == []


def test_models_need_no_plugin(shell: Shell) -> None:
    """So that the answer comes at once."""
    code = f"import sys\nsys.modules['rayllm.plugins'] = None\n{MAIN}"
    assert shell("bash", "rayllm scale q", code).split() == ["qwen"]


def test_environments_and_verbs(shell: Shell) -> None:
    """Names of what is built here."""
    (shell.folder / "home/environments/tiny-cpu-0123").mkdir(parents=True)
    assert shell("bash", "rayllm env check ").split() == ["tiny-cpu-0123"]
    assert shell("bash", "rayllm env ").split() == ["list", "build", "download", "check", "prune"]


def test_kinds_of_plugins(shell: Shell) -> None:
    """That can be made."""
    assert shell("bash", "rayllm plugins new ").split() == ["backend", "engine", "source"]
    assert shell("bash", "rayllm plugins ").split() == ["new", "doctor"]


def test_topics(shell: Shell) -> None:
    """What an error names as `more`."""
    assert shell("bash", "rayllm explain po").split() == ["port-in-use"]


def test_engines(shell: Shell) -> None:
    """Those that the installed plugins offer; none where the plugins are switched off."""
    code = f"""
from rayllm.plugins import Plugins
found = Plugins.discover([], disabled="")
found.engines["tiny"], found.engines["other"] = None, None
Plugins.discover = lambda *_, **__: found
{MAIN}
"""
    assert shell("bash", "rayllm env build t", code).split() == ["tiny"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(name: str, shell: Shell) -> None:
    """`--show-completion` prints what the shell has to read."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN],
        cwd=shell.folder,
        env={**os.environ, "_RAYLLM_COMPLETE": f"source_{name}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"_RAYLLM_COMPLETE=complete_{name}" in done.stdout
