"""Every hook of the contract: documented, with an example that runs, and able to grow."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayllm import ModelFailed, hookspecs
from rayllm.offers import EVENT_HOOK, HOOKS
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

ROOT = Path(__file__).parents[3]
NAMES = [name for name in vars(hookspecs) if name.startswith("rayllm_")]
OFFERS = {
    "rayllm_engines": "engine some",
    "rayllm_backends": "backend some",
    "rayllm_model_sources": "source share",
    "rayllm_event": "events",
}


def told(name: str) -> str:
    """A hook's docstring."""
    return inspect.cleandoc(getattr(hookspecs, name).__doc__)


def example(name: str) -> str:
    """The module in it."""
    (module,) = re.findall(r"^```python\n(.*?)^```$", told(name), re.DOTALL | re.MULTILINE)
    return str(module)


def test_discovery_knows_every_hook() -> None:
    """One that it did not call would be in vain."""
    assert {*HOOKS, EVENT_HOOK} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_hook_is_told_whole(name: str) -> None:
    """When it is called, and how results combine; the page for authors leads to it."""
    paragraphs = told(name).split("\n\n")
    assert len([text for text in paragraphs if text.startswith("Called ")]) == 1
    assert len([text for text in paragraphs if text.startswith("Results")]) == 1
    page = (ROOT / "docs/reference/hooks.md").read_text()
    section = page.split(f"\n## `{name}`\n")[1].split("\n## ")[0]
    assert f"```python\n{name}{str(inspect.signature(getattr(hookspecs, name))).replace(chr(39), '')}\n```" in section
    assert told(name) in section


@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs(
    name: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a plugin of its own, which offers what it says; the one that watches is told something."""
    monkeypatch.chdir(tmp_path)
    site.add("example", example(name))
    plugins = Plugins.discover(site.points(), disabled="")
    (info,) = plugins.infos
    assert (info.state, info.cause, info.offers) == ("loaded", None, (OFFERS[name],))
    for _, hook in plugins.observers():
        assert hook(event=ModelFailed(deployment="demo", model="small", message="it died")) == []
        assert (tmp_path / "failures.txt").read_text() == "demo small it died\n"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_an_implementation_need_not_name_every_argument(name: str, site: Site) -> None:
    """So a hook can gain one, and yesterday's plugins go on."""
    given = re.sub(rf"def {name}\(\w*\)", f"def {name}()", example(name)).replace("event", "None")
    site.add("example", given.replace("rayllm_None", "rayllm_event"))
    (info,) = Plugins.discover(site.points(), disabled="").infos
    assert (info.state, info.cause) == ("loaded", None)
