"""`rayllm plugins doctor`: one plugin, looked at closely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from tests.unit.core.test_plugins import ENGINE, GOOD

from rayllm import plugin_info
from rayllm.cli.app import app
from rayllm.cli.plugins import plugins_doctor
from rayllm.errors import InputError
from rayllm.machine import plugin_report
from rayllm.machine.machine_checks import plugin_checks
from rayllm.machine.plugin_report import report
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

HEAVY = """
import time
time.sleep(0.05)
"""
RAISES = ENGINE + "        return explode()\n\n    def explode():\n        raise OSError('no disk')\n"


def test_a_plugin_that_is_well(site: Site) -> None:
    """Where it is, its hooks, what it offers and requires, and what its import takes, the heaviest first."""
    (site.path / "made_up_heavy.py").write_text(HEAVY)
    site.add("good", "    import made_up_heavy\n" + GOOD, point="engine-good")
    found = report("engine-good")
    assert (found.plugin.state, found.plugin.offers) == ("loaded", ("engine good",))
    assert found.file == str(site.path / "made_up_good.py")
    assert found.hooks == ["rayllm_engines"]
    assert [(one.text, one.fits) for one in found.requires] == [("rayllm-core", True)]
    assert found.imports[0].package == "made_up_heavy"
    assert found.imports[0].ms >= 50
    assert {"made_up_good", "made_up_heavy"} <= {one.package for one in found.imports}
    assert "rayllm" not in {one.package for one in found.imports}  # pydantic has parts that are loaded when needed
    assert (found.traceback, found.cures) == ("", [])


def test_a_plugin_that_can_not_be_imported(site: Site) -> None:
    """The traceback begins in the plugin; what its distribution requires and nobody installed is the first cure."""
    site.add("bad", "import json\nimport no_such_library\n", requires="no-such-library>=2")
    found = report("bad")
    assert found.plugin.state == "broken"
    assert found.file == str(site.path / "made_up_bad.py")
    assert found.traceback.splitlines()[:2] == [
        "Traceback (most recent call last):",
        f'  File "{site.path}/made_up_bad.py", line 2, in <module>',
    ]
    assert found.traceback.splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_library'"
    (wanted,) = found.requires
    assert (wanted.text, wanted.installed, wanted.fits) == ("no-such-library>=2", None, False)
    assert found.cures == [
        'pip install "no-such-library>=2"',
        "upgrade or uninstall rayllm-bad; or leave it out: RAYLLM_PLUGINS_DISABLED=bad",
    ]


def test_a_hook_that_raises(site: Site) -> None:
    """In which line; the hook itself is found."""
    site.add("bad", RAISES)
    found = report("bad")
    assert found.hooks == ["rayllm_engines"]
    assert [line.strip() for line in found.traceback.splitlines() if "File" in line] == [
        f'File "{site.path}/made_up_bad.py", line 12, in rayllm_engines',
        f'File "{site.path}/made_up_bad.py", line 15, in explode',
    ]


def test_what_the_cause_says_by_itself_has_no_traceback(site: Site) -> None:
    """It would show our own code."""
    site.add("bad", GOOD.replace("@hookimpl", ""))
    found = report("bad")
    assert (found.plugin.cause, found.traceback) == ("rayllm_engines lacks @hookimpl", "")


def test_a_plugin_for_another_core(site: Site) -> None:
    """The range is told beside the version that is here."""
    site.add("old", GOOD, requires="rayllm-core>=99")
    found = report("old")
    (wanted,) = found.requires
    assert wanted.fits is False
    assert wanted.installed is not None
    assert found.cures == ['pip install "rayllm-core>=99"; or leave it out: RAYLLM_PLUGINS_DISABLED=old']


def test_a_plugin_that_is_switched_off_is_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who switched it off because it was broken wants to know why."""
    site.add("bad", "raise OSError('it')")
    monkeypatch.setenv("RAYLLM_PLUGINS_DISABLED", "*")
    assert report("bad").plugin.cause == "OSError: it"


def test_one_that_takes_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do about it is told to who wrote it."""
    site.add("good", GOOD)
    monkeypatch.setattr(plugin_info, "SLOW_MS", -1)
    assert report("good").cures == ["whose plugin it is: import what is heavy inside the function that needs it"]


def test_what_others_print_is_not_shown(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """What the plugin itself prints is, with what to do about it."""
    site.add("good", "    print('of good')\n" + GOOD)
    site.add("other", "    print('of other')\n" + GOOD.replace('"good"', '"other"'))
    found = report("good")
    assert (found.plugin.prints, found.cures) == (
        True,
        ["whose plugin it is: print nothing when it is imported; its hooks print nothing, either"],
    )
    assert capfd.readouterr() == ("", "of good\n")


def test_one_whose_import_does_not_end_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what is known without measuring is told all the same."""
    site.add("good", GOOD)
    monkeypatch.setattr(plugin_report, "IMPORT_S", 0)
    found = report("good")
    assert (found.plugin.state, found.imports) == ("loaded", [])


@pytest.mark.parametrize(
    ("entry_points", "name"), [("bad", "rayllm-good"), ("bad =", "bad"), ("bad = not a module!", "bad")]
)
def test_one_that_names_no_module(site: Site, entry_points: str, name: str) -> None:
    """It is told of all the same, and nothing of it is found."""
    site.add("good", GOOD)
    (site.path / "rayllm_good-0.3.1.dist-info/entry_points.txt").write_text(f"[rayllm]\n{entry_points}\n")
    found = report(name)
    assert (found.plugin.state, found.file, found.hooks) == ("broken", None, [])
    assert found.cures


def test_a_name_that_nobody_has(site: Site) -> None:
    """The nearest is named."""
    site.add("good", GOOD, point="engine-good")
    with pytest.raises(InputError, match=r'no plugin "engine-god" is installed; did you mean "engine-good"\?'):
        report("engine-god")


def test_the_command_for_a_person(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status says whether it is broken."""
    site.add("bad", "raise OSError('it:\\nwhat it is')", requires="no-such-library>=2")
    with pytest.raises(typer.Exit) as caught:
        plugins_doctor("bad")
    assert caught.value.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "bad (rayllm-bad 0.3.1) is broken",
        "  cause     OSError: it:",
        "            what it is",
        '  do        pip install "no-such-library>=2"',
        "            upgrade or uninstall rayllm-bad; or leave it out: RAYLLM_PLUGINS_DISABLED=bad",
        f"  module    made_up_bad ({site.path}/made_up_bad.py)",
        "  requires  ✘ no-such-library>=2 (not installed)",
    ]
    assert lines[7:9] == ["  hooks     none", "  offers    nothing"]
    assert "Traceback (most recent call last):" in lines


def test_a_slow_plugin_is_told_of_in_the_list_and_by_doctor(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lead to what tells where the time goes."""
    site.add("good", GOOD)
    plugins = Plugins.discover(site.points(), disabled="")
    (info,) = plugins.infos
    info.import_ms = 2340.0
    (_, check) = plugin_checks(plugins)
    assert (check.state, check.cure) == ("warn", "rayllm plugins doctor good")
    assert check.detail == "good (rayllm-good 0.3.1) takes 2.3 s to load, where a few milliseconds are usual"
    monkeypatch.setattr(Plugins, "discover", lambda **_: plugins)
    group = typer.main.get_command(app)
    group(["plugins"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-2:] == [check.detail, f"  more   {check.cure}"]


def test_the_command_for_a_program(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but JSON, and 0 where all is well."""
    site.add("good", "    print('a plugin that talks')\n" + GOOD)
    plugins_doctor("good", json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["plugin"]["name"], told["file"]) == ("good", str(site.path / "made_up_good.py"))
    assert Path(told["file"]).exists()
