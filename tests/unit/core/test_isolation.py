"""A dozen bad plugins at once, as a person and a program meet them: each costs itself, and is told of once."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from tests.unit.core.test_plugins import BROKEN, ENGINE, GOOD

from rayllm import loading, plugin_info
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

FILE = "name: demo\nmodels: {m: {engine: good, source: /m}}\ncluster: {backend: ray, options: {address: http://h:1}}\n"
PRINTS = "print('printed at import')\nimport os\nos.write(1, b'written at import\\n')\n"
TALKS = ENGINE.replace("lambda launch: [", "lambda launch: print('printed later') or [").replace(
    "    @hookimpl", "    print('printed at import')\n\n    @hookimpl"
)
BAD = {
    "import-error": BROKEN["missing import"],
    "exits": BROKEN["exits at import"],
    "raises-in-hook": BROKEN["raises in the hook"],
    "raises-in-generator": BROKEN["raises in a generator"],
    "wrong-type": BROKEN["wrong item"],
    "wrong-field": BROKEN["commands that can't be called"],
    "misspelt": BROKEN["misspelt hook"],
    "clash": (GOOD, 'engine "good" is the name of the plugin engine-good'),
    "prints": (PRINTS + "raise OSError('and breaks')", "OSError: and breaks"),
}
"""By the name of the plugin: its module, and the beginning of its cause."""


def rayllm(site: Site, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line beside the plugins of a site alone."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAYLLM_")}
    environ |= {"PYTHONPATH": str(site.path), "RAYLLM_PLUGINS_DISABLED": "backend-local,engine-vllm,engine-fake"}
    argv = [sys.executable, "-c", "from rayllm.cli import main; main()", *arguments]
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_each_bad_plugin_is_one_line_on_stderr(site: Site, tmp_path: Path) -> None:
    """With distribution, version, cause and cure; what a program reads is whole, and the command has done its work."""
    for name, (source, _) in BAD.items():
        site.add(name, source)
    site.add("old", GOOD, requires="rayllm-core>=99")
    site.add("slow", "import time; time.sleep(0.6)\n" + ENGINE.replace("\n    ", "\n") + "    return []\n")
    site.add("talks", TALKS + '        yield engine("good")\n', point="engine-good")
    (tmp_path / "rayllm.yaml").write_text(FILE.replace("good", "other"))
    wrong = rayllm(site, tmp_path, "validate", "--json")
    assert wrong.returncode == 2
    told = json.loads(wrong.stdout)
    assert [problem["name"] for problem in told["problems"]] == ["models.m.engine"]
    lines = [line for line in wrong.stderr.splitlines() if line.startswith("warning: ")]
    for name, (_, cause) in BAD.items():
        (line,) = [line for line in lines if f"plugin {name} (rayllm-{name} 0.3.1) is left out: {cause}" in line]
        assert f"upgrade or uninstall rayllm-{name}; or leave it out: RAYLLM_PLUGINS_DISABLED={name}" in line
    (old,) = [line for line in lines if "plugin old (rayllm-old 0.3.1)" in line]
    assert "it is built for rayllm-core >=99, and this is " in old
    assert '→ pip install "rayllm-core>=99"; or leave it out: RAYLLM_PLUGINS_DISABLED=old; more: ' in old
    (slow,) = [line for line in lines if "plugin slow (rayllm-slow 0.3.1) takes 0." in line]
    assert slow.endswith("→ rayllm plugins doctor slow tells more")
    (talks,) = [line for line in lines if "plugin engine-good (rayllm-talks 0.3.1) prints when it is loaded" in line]
    assert talks.endswith("→ rayllm plugins doctor engine-good tells more")
    assert len(lines) == len(BAD) + 3
    assert "Traceback" not in wrong.stderr


def test_what_plugins_print_stands_in_no_result(site: Site, tmp_path: Path) -> None:
    """Neither when they are loaded nor when they are asked something later."""
    site.add("talks", TALKS + '        yield engine("good")\n', point="engine-good")
    (tmp_path / "rayllm.yaml").write_text(FILE)
    for arguments in (["validate", "--json"], ["render"]):
        done = rayllm(site, tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert "printed" not in done.stdout
        assert {"printed at import", "printed later"} <= set(done.stderr.splitlines())
    assert json.loads(rayllm(site, tmp_path, "plugins", "--json").stdout)


def test_what_a_plugin_prints_at_the_very_end(site: Site, tmp_path: Path) -> None:
    """By Python when the process ends, or to the descriptor: neither stands below the JSON."""
    late = "import atexit, os\natexit.register(lambda: os.write(1, b'late\\n'))\natexit.register(print, 'later')\n"
    keeps = "import sys\natexit.register(sys.__stdout__.write, 'latest\\n')\n"
    site.add("late", late + keeps + dedent(GOOD))
    done = rayllm(site, tmp_path, "plugins", "--json")
    (info,) = [info for info in json.loads(done.stdout) if info["name"] == "late"]
    assert (info["state"], info["prints"]) == ("loaded", False)
    assert sorted(done.stderr.splitlines()) == ["late", "later", "latest"]


@pytest.mark.parametrize(
    "prints",
    ["print('hello')", "import os; os.system('echo hello')", "import sys; sys.stdout.buffer.write(b'hello\\n')"],
)
def test_a_plugin_that_prints_when_it_is_loaded(
    site: Site, prints: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is used, and named once; what it said is on stderr, and what it prints later is, too."""
    keeps = "import logging, sys\nhandler = logging.StreamHandler(sys.stdout)\n"
    site.add("talks", keeps + prints + dedent(GOOD))
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert (info.state, info.prints) == ("loaded", True)
    assert caplog.messages == [
        "plugin talks (rayllm-talks 0.3.1) prints when it is loaded   → rayllm plugins doctor talks tells more"
    ]
    sys.modules["made_up_talks"].handler.emit(logging.makeLogRecord({"msg": "and more"}))
    assert capfd.readouterr() == ("", "hello\nand more\n")


def test_a_plugin_that_is_silent(site: Site) -> None:
    """Of it nothing is told."""
    site.add("good", GOOD)
    assert [(info.prints, info.oddities) for info in Plugins.discover(site.points(), disabled="").infos] == [
        (False, [])
    ]


def test_a_plugin_that_hangs_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is waited for, by name: a person sees whom to leave out."""
    (site.path / "made_up_gate.py").write_text("import threading\nopened = threading.Event()\n")
    site.add("hangs", "import made_up_gate\nassert made_up_gate.opened.wait(30)\n" + dedent(GOOD))
    monkeypatch.setattr(loading, "WAIT_S", 0)
    monkeypatch.setattr(loading, "LOOK_S", 0.01)
    heard: list[str] = []

    def waits(line: str) -> None:
        heard.append(line)
        sys.modules["made_up_gate"].opened.set()

    (info,) = Plugins.discover(site.points(), disabled="", waits=waits).infos
    assert info.state == "loaded"
    cure = "Ctrl-C ends this; RAYLLM_PLUGINS_DISABLED=hangs leaves it out"
    assert heard == [f"still loading plugin hangs (rayllm-hangs 0.3.1)   → {cure}"]


def test_a_slow_plugin_is_used_and_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a hook takes the time; once."""
    monkeypatch.setattr(plugin_info, "SLOW_MS", -1)
    heard: list[str] = []
    site.add("good", GOOD, point="engine-good")
    found = Plugins.discover(site.points(), disabled="", heard=heard.append)
    assert "good" in found.engines
    assert [info.is_slow for info in found.infos] == [True]
    (line,) = heard
    assert line.startswith("plugin engine-good (rayllm-good 0.3.1) takes 0.0 s to load, where a few milliseconds")


def test_a_plugin_is_not_slow_by_itself(site: Site) -> None:
    """The bound is far above what one takes."""
    site.add("good", GOOD)
    assert [info.is_slow for info in Plugins.discover(site.points(), disabled="").infos] == [False]


def test_without_a_listener_it_is_a_warning_of_the_logger(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """So a program that uses RayLLM from Python sees it on stderr, and can direct it elsewhere."""
    site.add("bad", "raise RuntimeError('it')")
    assert Plugins.discover(site.points(), disabled="").broken
    ((name, level, text),) = caplog.record_tuples
    assert (name, level) == ("rayllm.plugins", logging.WARNING)
    assert text.startswith("plugin bad (rayllm-bad 0.3.1) is left out: RuntimeError: it   → ")


def test_entry_points_that_can_not_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python fails on all of them then; the others are found one by one, and the damaged one is named."""
    site.add("good", GOOD)
    site.add("bad", GOOD)
    (site.path / "rayllm_bad-0.3.1.dist-info/entry_points.txt").write_text("[rayllm]\nbad\n")
    heard: list[str] = []
    found = Plugins.discover(disabled="backend-local,engine-vllm,engine-fake", heard=heard.append)
    assert found.engines["good"].name == "good"
    assert found.sources["file"].scheme == "file"
    (line,) = heard
    assert line.startswith("plugin rayllm-bad (rayllm-bad 0.3.1) is left out: its entry_points.txt can't be read: ")
    (broken,) = found.broken
    assert broken.cure == "install rayllm-bad again, or uninstall it"


def test_a_distribution_without_metadata(site: Site) -> None:
    """As an interrupted uninstallation leaves it: its plugin is known by its name alone."""
    site.add("half", GOOD)
    (site.path / "rayllm_half-0.3.1.dist-info/METADATA").unlink()
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert (info.title, info.state) == ("half", "loaded")


@pytest.mark.parametrize("value", ["", "not a module!", "no_such:thing", "made_up_good:nothing"])
def test_an_entry_point_that_names_nothing(site: Site, value: str) -> None:
    """It can't be imported, and that is all."""
    site.add("good", GOOD)
    (site.path / "rayllm_good-0.3.1.dist-info/entry_points.txt").write_text(f"[rayllm]\nbad = {value}\n")
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert (info.name, info.state) == ("bad", "broken")
