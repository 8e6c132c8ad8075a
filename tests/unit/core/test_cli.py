"""The command line, as a person or a program meets it: run in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

MAIN = "from rayllm.cli import main; main()"
PLUGIN = """
    from pathlib import Path
    from rayllm import Backend, Command, Engine, Environment, ModelSource, Options, hookimpl

    print("a plugin that talks")

    class Some(Options):
        max_model_len: int = 0

    @hookimpl
    def rayllm_engines():
        yield Engine(
            name="vllm", summary="", options=Some, environment=Environment(()), commands=lambda launch: [Command()],
            capabilities={"gguf"},
        )

    @hookimpl
    def rayllm_backends():
        yield Backend(name="local", summary="", options=Options, open=lambda options: None)

    @hookimpl
    def rayllm_model_sources():
        yield ModelSource(scheme="package", summary="", check=lambda uri: None, fetch=lambda *_: Path())
"""
TALKS = (
    "a plugin that talks",
    "warning: plugin all (rayllm-all 0.3.1) prints when it is loaded   → rayllm plugins doctor all tells more",
)
"""What that brings to stderr."""


class Cli:
    """`rayllm` in an empty folder, with made-up plugins instead of the installed ones."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.folder = folder
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("RAYLLM_", "NO_COLOR"))}
        self.environ = outside | {"PYTHONPATH": str(site), "TERM": "xterm", "COLUMNS": "80"}

    def __call__(self, *arguments: str, code: str = MAIN) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        argv = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            argv, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def cli(site: Site, tmp_path: Path) -> Cli:
    """The command line beside one plugin that has all that the example needs."""
    site.add("all", PLUGIN)
    folder = tmp_path / "folder"
    folder.mkdir()
    made = Cli(site.path, folder)
    installed = "backend-local,engine-vllm,engine-fake,core"
    made.environ["RAYLLM_PLUGINS_DISABLED"] = installed
    return made


def test_version(cli: Cli) -> None:
    """One line, for a bug report."""
    from rayllm import __version__

    for arguments in (["--version"], ["--version", "validate"]):
        result = cli(*arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"rayllm {__version__}\n", "")


def test_help_shows_every_command_and_examples_as_written(cli: Cli) -> None:
    """Without arguments it helps, too."""
    result = cli("--help")
    assert result.returncode == 0
    assert "\n  Examples:\n    rayllm init " in result.stdout
    assert cli().stdout == result.stdout
    assert "\n  validate  " in result.stdout
    assert "\n  Examples:\n    rayllm validate\n" in cli("validate", "-h").stdout


@pytest.mark.parametrize("arguments", [["--help"], ["env", "--help"]])
def test_lists_of_commands_fit_on_a_terminal(cli: Cli, arguments: list[str]) -> None:
    """Nothing is cut off in the middle of a sentence."""
    listed = cli(*arguments).stdout.partition("Commands:\n")[2].splitlines()
    assert listed
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("arguments", [["serv"], ["validate", "--nope"], ["validate", "-f"], ["init", "more"]])
def test_wrong_arguments_are_bad_input(cli: Cli, arguments: list[str]) -> None:
    """Exit status 2, the reason on stderr, no traceback."""
    result = cli(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert "Error: " in result.stderr


def test_init_then_validate(cli: Cli) -> None:
    """The example is right as it stands."""
    result = cli("init")
    assert result.stdout == "Wrote rayllm.yaml (smollm2 with vllm on local). Next: rayllm up\n"
    result = cli("validate")
    assert (result.returncode, result.stdout) == (0, "rayllm.yaml is valid: demo on local, 1 model\n")


def test_init_of_another_file(cli: Cli) -> None:
    """The next step names it."""
    assert cli("init", "-f", "a.yaml").stdout.endswith("Next: rayllm up -f a.yaml\n")
    assert cli("validate", "--file", "a.yaml").returncode == 0


def test_init_overwrites_nothing_unasked(cli: Cli) -> None:
    """A file of a person's own stays, until --force."""
    file = cli.folder / "rayllm.yaml"
    file.write_text("mine")
    result = cli("init")
    assert (result.returncode, result.stdout) == (2, "")
    assert cli("init", "-f", "b.yaml").returncode == 0
    assert "rayllm init -f b.yaml --force overwrites it" in cli("init", "-f", "b.yaml").stderr
    assert result.stderr == "rayllm.yaml is there already\n  do     rayllm init --force overwrites it\n"
    assert file.read_text() == "mine"
    assert cli("init", "--force").returncode == 0
    assert file.read_text().startswith("# What should be served")


def test_init_where_nothing_can_be_written(cli: Cli) -> None:
    """The system's own words say why."""
    result = cli("init", "-f", "no/such/folder.yaml")
    assert result.returncode == 2
    assert result.stderr.endswith("no/such/folder.yaml can't be written\n  cause  No such file or directory\n")


def test_validate_without_a_file(cli: Cli) -> None:
    """The way to one is named."""
    result = cli("validate")
    assert result.returncode == 2
    assert result.stderr.endswith(
        "there is no file rayllm.yaml\n  do     rayllm init writes one; -f FILE names another\n"
    )


def test_validate_shows_all_mistakes(cli: Cli) -> None:
    """On stderr, in the words of the promise."""
    (cli.folder / "rayllm.yaml").write_text(
        "name: demo\n\ncluster:\n  backend: local\nmodels:\n  smollm2:\n    engine: vlm\n    source: package:a/b\n"
        "  other:\n    engine: vllm\n    source: package:a/b\n    options: {max_modle_len: 1}\n"
    )
    result = cli("validate")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[len(TALKS) :] == [
        'rayllm.yaml:7:13  models.smollm2.engine: no engine "vlm"; did you mean "vllm"?   installed: vllm',
        f"                  → disabled: {disabled()}; rayllm plugins tells why",
        (
            'rayllm.yaml:12:15  models.other.options.max_modle_len: engine "vllm" has no such option;'
            ' did you mean "max_model_len"?   known: max_model_len'
        ),
        "2 problems, nothing was changed.",
        "  more   rayllm explain config",
    ]


def disabled() -> str:
    """The installed plugins, which these tests leave out."""
    from rayllm.plugins import Plugins

    infos = Plugins.discover(disabled="backend-local,engine-vllm,engine-fake,core").infos
    return ", ".join(info.title for info in infos if info.state == "disabled")


def test_validate_for_programs(cli: Cli) -> None:
    """Only JSON on stdout, whatever a plugin prints when imported."""
    cli("init")
    result = cli("validate", "--json")
    assert json.loads(result.stdout) == {"file": "rayllm.yaml", "valid": True, "problems": []}
    assert "a plugin that talks" in result.stderr
    (cli.folder / "rayllm.yaml").write_text("models: {}\n")
    result = cli("validate", "--json")
    assert result.returncode == 2
    told = json.loads(result.stdout)
    assert told["valid"] is False
    assert told["problems"][0] == {
        "line": 1,
        "column": 1,
        "name": "name",
        "message": "required, and missing",
        "choices": "",
        "cure": "",
    }


def test_a_plugin_that_writes_past_python(cli: Cli, site: Site) -> None:
    """As a library in C does, or a process that it starts: JSON stays JSON."""
    talks = "import os\nos.write(1, b'a library\\n')\nos.system('echo a process')\n"
    site.add("backend-noisy", talks + "raise ImportError('it')")
    result = cli("plugins", "--json")
    assert {info["name"] for info in json.loads(result.stdout)} >= {"all", "backend-noisy"}
    assert {"a library", "a process"} <= set(result.stderr.splitlines())


def test_a_broken_plugin_is_one_line_on_stderr(cli: Cli, site: Site) -> None:
    """Distribution, version, cause and cure; the command does its work."""
    site.add("engine-x", "raise ImportError('libx.so:\\nnot there')")
    cli("init")
    result = cli("validate")
    assert result.returncode == 0
    assert [line for line in result.stderr.splitlines() if line not in TALKS] == [
        (
            "warning: plugin engine-x (rayllm-engine-x 0.3.1) is left out: ImportError: libx.so:"
            "   → upgrade or uninstall rayllm-engine-x; or leave it out: RAYLLM_PLUGINS_DISABLED=engine-x;"
            " more: rayllm plugins doctor engine-x"
        )
    ]


def test_plugins_lists_them_with_their_faults(cli: Cli, site: Site) -> None:
    """A table, then each broken one with cause and cure."""
    site.add("engine-x", "raise ImportError('libx.so:\\nnot there')")
    result = cli("plugins")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "DISTRIBUTION", "STATE", "OFFERS"]
    cells = [line.split(maxsplit=4) for line in lines]
    assert ["all", "0.3.1", "rayllm-all", "loaded", "engine vllm, backend local, source package"] in cells
    assert ["engine-x", "0.3.1", "rayllm-engine-x", "broken", "-"] in cells
    table = {line.split()[0]: line for line in lines if line}
    assert "VLLM" in table["CAPABILITY"]
    assert "cpu, cuda" in table["gguf"]
    assert "cpu" not in table["lora"]
    assert lines[-6:] == [
        "",
        "engine-x (rayllm-engine-x 0.3.1) is broken",
        "  cause  ImportError: libx.so:",
        "         not there",
        "  do     upgrade or uninstall rayllm-engine-x; or leave it out: RAYLLM_PLUGINS_DISABLED=engine-x",
        "  more   rayllm plugins doctor engine-x",
    ]


def test_plugins_for_programs(cli: Cli) -> None:
    """Every entry point, with what it offers."""
    told = {info["name"]: info for info in json.loads(cli("plugins", "--json").stdout)}
    assert told["all"]["offers"] == ["engine vllm", "backend local", "source package"]
    assert told["all"]["capabilities"] == {"vllm": {"cpu": ["gguf"], "cuda": ["gguf"]}}
    assert told["core"]["state"] == "disabled"


def test_ctrl_c_is_130(cli: Cli) -> None:
    """No traceback either, in a command or before it."""
    interrupt = "import rayllm.plugins as p\ndef stop(**_): raise KeyboardInterrupt\np.Plugins.discover = stop\n" + MAIN
    result = cli("plugins", code=interrupt)
    assert result.returncode == 130
    assert "Traceback" not in result.stderr


def test_a_terminal_that_knows_no_arrows(cli: Cli) -> None:
    """An error text is printed all the same."""
    cli.environ["PYTHONIOENCODING"] = "ascii"
    (cli.folder / "rayllm.yaml").write_text("")
    result = cli("validate")
    assert result.returncode == 2
    assert "? rayllm init --force writes an example" in result.stderr


@pytest.mark.parametrize(("variable", "colour"), [(None, True), ("NO_COLOR", False)])
def test_colour_is_for_terminals(cli: Cli, variable: str | None, colour: bool) -> None:
    """Only there, and not where a person has said no."""
    if variable:
        cli.environ[variable] = "1"
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-c", MAIN, "init"]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run([*argv[:3], "plugins"], cwd=cli.folder, env=cli.environ, stdout=theirs, check=True, timeout=60)
        os.close(theirs)
        assert (b"\x1b[" in terminal.read(4096)) == colour


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["validate"], ["plugins"]])
def test_nothing_heavy_is_imported(cli: Cli, arguments: list[str]) -> None:
    """Neither Ray nor an engine, nor what talks to clusters, nor what draws on terminals."""
    cli("init")
    banned = "ray torch vllm httpx rich.console" + (" pydantic yaml pluggy" if arguments[0].startswith("-") else "")
    told = f"import atexit, sys\natexit.register(lambda: print('HEAVY', *set('{banned}'.split()) & set(sys.modules)))\n"
    result = cli(*arguments, code=told + MAIN)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "HEAVY"  # what is printed in an `atexit` is no result
