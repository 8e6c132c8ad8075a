"""Discovery: a plugin's faults cost the plugin, and nothing else."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site


ENGINE = """
    from rayllm import Command, Engine, Environment, Options, hookimpl

    class Some(Options):
        size: int = 1

    def engine(name, needs=Environment(())):
        return Engine(name=name, summary="", options=Some, environment=needs, commands=lambda launch: [Command()])

    @hookimpl
    def rayllm_engines():
"""
GOOD = ENGINE + '        return [engine("good")]\n'

BROKEN = {
    "missing import": ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    "raises at import": (
        "raise RuntimeError('libcudart.so.12: not there')",
        "RuntimeError: libcudart.so.12: not there",
    ),
    "syntax error": ("def :", "SyntaxError: invalid syntax (made_up_bad.py, line 1)"),
    "exits at import": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "raises in the hook": (ENGINE + "        raise OSError('no disk')\n", "OSError: no disk"),
    "raises in a generator": (
        ENGINE + "        yield engine('one')\n        raise KeyError('two')\n",
        "KeyError: 'two'",
    ),
    "wrong item": (ENGINE + "        return ['good']\n", "rayllm_engines() offers a str, where Engine is wanted"),
    "not iterable": (
        ENGINE + "        return engine('x')\n",
        "rayllm_engines() returned Engine, where an iterable of Engine is wanted",
    ),
    "forgotten return": (
        ENGINE + "        engine('x')\n",
        "rayllm_engines() returned None, where an iterable of Engine is wanted",
    ),
    "misspelt hook": (
        GOOD.replace("def rayllm_engines", "def rayllm_engine"),
        'rayllm_engine is no hook; did you mean "rayllm_engines"?',
    ),
    "argument that the hook lacks": (
        GOOD.replace("rayllm_engines()", "rayllm_engines(config)"),
        "rayllm_engines() asks for config, which the hook does not have",
    ),
    "forgotten mark": (GOOD.replace("@hookimpl", ""), "rayllm_engines lacks @hookimpl"),
    "no hook at all": ("x = 1", "it has no function marked with @hookimpl"),
    "bad name": (
        ENGINE + "        return [engine('My Engine')]\n",
        "Engine.name 'My Engine' is not of the form [a-z0-9]+(-[a-z0-9]+)*",
    ),
    "name offered twice": (ENGINE + "        return [engine('x'), engine('x')]\n", 'it offers engine "x" twice'),
    "options of another kind": (
        GOOD.replace("options=Some", "options=dict"),
        'Engine.options of "good" is not a subclass of rayllm.Options',
    ),
    "commands that can't be called": (
        GOOD.replace("lambda launch: [Command()]", "[]"),
        'Engine.commands of "good" is not a function',
    ),
    "environment of another kind": (
        GOOD.replace("Environment(())", "[]"),
        'Engine.environment of "good" is neither an Environment nor a mapping of them',
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_costs_only_itself(site: Site, fault: str) -> None:
    """Its neighbours load, nothing of it stays, and the reason is told."""
    source, cause = BROKEN[fault]
    site.add("bad", source)
    site.add("aaa", ENGINE + '        yield engine("first")\n')
    site.add("zzz", ENGINE + '        yield engine("last")\n')
    plugins = Plugins.discover(site.points(), disabled="")
    assert sorted(plugins.engines) == ["first", "last"]
    assert [(info.name, info.state) for info in plugins.infos] == [
        ("aaa", "loaded"),
        ("bad", "broken"),
        ("zzz", "loaded"),
    ]
    (bad,) = plugins.broken
    assert bad.cause is not None
    assert bad.cause.startswith(cause)
    assert bad.offers == ()
    assert bad.title == "bad (rayllm-bad 0.3.1)"
    assert bad.cure == "upgrade or uninstall rayllm-bad; or leave it out: RAYLLM_PLUGINS_DISABLED=bad"


def test_ctrl_c_during_an_import_is_not_a_plugins_fault(site: Site) -> None:
    """A person's interrupt ends the program."""
    site.add("slow", "raise KeyboardInterrupt")
    plugins = Plugins.discover(site.points(), disabled="")
    with pytest.raises(KeyboardInterrupt):
        _ = plugins.infos


def test_a_taken_name_breaks_the_later_plugin(site: Site) -> None:
    """The first in the order of names keeps it, and is named."""
    site.add("aaa", GOOD)
    site.add("bbb", ENGINE + '        return [engine("more"), engine("good")]\n')
    plugins = Plugins.discover(site.points(), disabled="")
    assert list(plugins.engines) == ["good"]
    assert plugins.origin_of("engine", "good").name == "aaa"
    (later,) = plugins.broken
    assert (later.name, later.cause) == ("bbb", 'engine "good" is taken by aaa (rayllm-aaa 0.3.1)')


def test_a_name_belongs_to_the_plugin_that_is_called_after_it(site: Site) -> None:
    """Whichever is asked for first."""
    site.add("aaa", GOOD)
    site.add("named", GOOD, point="engine-good")
    for first in ("good", "other"):
        plugins = Plugins.discover(site.points(), disabled="")
        assert (first in plugins.engines) is (first == "good")
        assert plugins.origin_of("engine", "good").name == "engine-good"
        (other,) = plugins.broken
        assert (other.name, other.cause) == ("aaa", 'engine "good" is the name of the plugin engine-good')


def test_a_plugin_that_nobody_asks_for_is_not_imported(site: Site) -> None:
    """A hundred installed ones cost a command nothing; a broken one among them is not its business."""
    heard: list[str] = []
    site.add("good", GOOD, point="engine-good")
    site.add("bad", "raise RuntimeError", point="engine-bad")
    plugins = Plugins.discover(site.points(), disabled="", heard=heard.append)
    assert plugins.engines["good"].name == "good"
    assert plugins.origin_of("engine", "good").name == "engine-good"
    assert "made_up_bad" not in sys.modules
    assert heard == []
    assert "better" not in plugins.engines
    (line,) = heard
    assert line == (
        "plugin engine-bad (rayllm-bad 0.3.1) is left out: RuntimeError   → upgrade or uninstall rayllm-bad; or leave"
        " it out: RAYLLM_PLUGINS_DISABLED=engine-bad; more: rayllm plugins doctor engine-bad"
    )


def test_two_entry_points_of_one_name(site: Site) -> None:
    """The kill switch and `rayllm plugins` know a plugin by its name, so it is unique."""
    site.add("aaa", GOOD)
    site.add("bbb", ENGINE + '        return [engine("other")]\n', point="aaa")
    plugins = Plugins.discover(site.points(), disabled="")
    assert list(plugins.engines) == ["good"]
    assert plugins.broken[0].cause == 'the name "aaa" is taken by aaa (rayllm-aaa 0.3.1)'


def test_nobody_takes_the_names_of_core() -> None:
    """Core's own plugin loads first, whatever others are called."""
    core = EntryPoint(name="core", value="rayllm.builtin", group="rayllm")
    early = EntryPoint(name="a", value="no_such_module", group="rayllm")
    infos = Plugins.discover([early, core], disabled="").infos
    assert [info.name for info in infos] == ["core", "a"]


def test_what_is_known_of_a_loaded_plugin(site: Site) -> None:
    """Name, version, distribution, what it offers and how long its import took."""
    site.add("good", GOOD)
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert (info.name, info.distribution, info.version, info.state) == ("good", "rayllm-good", "0.3.1", "loaded")
    assert (info.module, info.offers, info.cause) == ("made_up_good", ("engine good",), None)
    assert info.import_ms is not None


def test_origin_of_something_that_nobody_offers() -> None:
    """A KeyError names it."""
    with pytest.raises(KeyError, match="backend moon"):
        Plugins.discover([], disabled="").origin_of("backend", "moon")


def test_the_kill_switch_leaves_plugins_out_without_importing_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from the variable, separated by commas; spaces don't matter."""
    site.add("bad", "raise RuntimeError")
    site.add("worse", "raise RuntimeError")
    site.add("good", GOOD)
    monkeypatch.setenv("RAYLLM_PLUGINS_DISABLED", "bad, worse")
    plugins = Plugins.discover(site.points())
    assert {info.name: info.state for info in plugins.infos} == {
        "bad": "disabled",
        "good": "loaded",
        "worse": "disabled",
    }
    assert plugins.broken == []


def test_the_star_leaves_out_all_but_core(site: Site) -> None:
    """Even then there is something to serve with."""
    site.add("good", GOOD)
    core = EntryPoint(name="core", value="rayllm.builtin", group="rayllm")
    infos = Plugins.discover([*site.points(), core], disabled="*").infos
    assert [(info.name, info.state != "disabled") for info in infos] == [("core", True), ("good", False)]


def test_a_disabled_plugin_frees_its_name(site: Site) -> None:
    """The way out of a clash that the error names works."""
    site.add("aaa", GOOD)
    site.add("bbb", GOOD)
    plugins = Plugins.discover(site.points(), disabled="aaa")
    assert plugins.origin_of("engine", "good").name == "bbb"


def test_a_plugin_for_another_core_is_set_aside(site: Site) -> None:
    """Its own requirement tells; it is not even imported."""
    site.add("old", GOOD, requires="rayllm_core[serve]>=99,<100")
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert info.state == "broken"
    assert info.import_ms is None
    assert info.cause is not None
    assert info.cause.startswith("it is built for rayllm-core <100,>=99, and this is ")


@pytest.mark.parametrize(
    ("requires", "cure"),
    [
        ("rayllm-core>=99", 'pip install "rayllm-core>=99"'),
        ("rayllm-core~=99.1", 'pip install "rayllm-core~=99.1"'),
        ("rayllm-core==99.*", 'pip install "rayllm-core==99.*"'),
        ("rayllm-core<0.0.1", "upgrade or uninstall rayllm-old"),
        ("rayllm-core>=0.0.1,!=0.1.0,<0.1.0", "upgrade or uninstall rayllm-old"),
    ],
)
def test_who_is_too_old(site: Site, requires: str, cure: str) -> None:
    """Core is upgraded for a plugin that is newer, and the plugin for a core that is."""
    site.add("old", GOOD, requires=requires)
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert info.cure == f"{cure}; or leave it out: RAYLLM_PLUGINS_DISABLED=old"


def test_the_installed_plugins_are_found_by_default() -> None:
    """Core's own entry point is among them."""
    assert "core" in [info.name for info in Plugins.discover(disabled="*").infos]
