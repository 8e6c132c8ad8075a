"""The kit for backends: one that keeps every rule passes, and one that breaks a rule fails that rule alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.core.testing.bad_backends import BAD, Bad

from rayllm.testing import BackendConformance, backend_conformance, plugin_rules
from rayllm.testing.backend_kit import base

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

KIT = Path(__file__).with_name("disk_conformance.py")
RULES = [name for name in dir(BackendConformance) if name.startswith("test_")]
FOUND = "test_it_is_found_by_its_entry_point"
FROM_OUTSIDE = {"", "test_its_import_is_light", "test_its_import_prints_nothing"}
"""Rules for which a Python of its own looks at the plugin, which takes a second."""


class Outcomes:
    """A pytest plugin that keeps which tests failed, and how."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.failed[name] = f"{report.when}: {report.longreprtext}"
        elif report.when == "call" and report.passed:
            self.passed.append(name)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard of these tests reports at once what it was told."""
    monkeypatch.setattr(backend_conformance, "_SERVE_S", 0)


def held(site: Site, monkeypatch: pytest.MonkeyPatch, bad: Bad) -> Outcomes:
    """What the kit says of a backend."""
    site.add("disk", bad.source(), point="backend-disk", requires=bad.needs)
    (site.path / "heavy_as_lead.py").touch()
    if bad.rule not in FROM_OUTSIDE:
        monkeypatch.setattr(base, "look", lambda *_, **__: ({}, ""))
    for looked_up in (plugin_rules.installed, base.seen):
        looked_up.cache_clear()
    outcomes = Outcomes()
    pytest.main(["-q", "-p", "no:cacheprovider", str(KIT)], plugins=[outcomes])
    return outcomes


def test_one_that_keeps_every_rule(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes all of them."""
    outcomes = held(site, monkeypatch, Bad("", ""))
    assert outcomes.failed == {}
    assert sorted(outcomes.passed) == sorted(RULES)


def test_every_rule_has_a_backend_that_breaks_it() -> None:
    """So that no rule passes whatever it is given."""
    assert {bad.rule for bad in BAD.values()} == set(RULES)


@pytest.mark.parametrize("fault", BAD)
def test_one_that_breaks_a_rule(site: Site, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Fails that rule, and no other; the failure says what was seen and what to do."""
    bad = BAD[fault]
    outcomes = held(site, monkeypatch, bad)
    assert list(outcomes.failed) == [bad.rule], outcomes.failed
    said = outcomes.failed[bad.rule]
    assert f"backend disk{' (rayllm-disk 0.3.1)' * (bad.rule != FOUND)} breaks {bad.rule}: " in said
    assert bad.said in said
    assert "\n  do  " in said
