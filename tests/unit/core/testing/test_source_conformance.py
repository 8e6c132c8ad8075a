"""The kit for model sources fails on every plugin that breaks a rule, for that rule alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.testing.bad_sources import BADS, GOOD, HOOK, Bad
from tests.unit.core.testing.kit_runs import Outcome, failures, install, run

from rayllm.testing import SourceConformance

CONFTEST = """
from rayllm.testing import source_conformance
from rayllm.testing.outside.look import look

def look_at_some(program, request, **how):
    return look(program, request, **how) if how.get("TMPDIR") or request["name"] in LOOKED_AT else ({}, "")

source_conformance.look = look_at_some
"""
"""No look from outside at plugins that another rule is about: each takes a second."""
FROM_OUTSIDE = {"test_its_import_is_light", "test_its_import_prints_nothing", "test_its_check_is_pure"}
RULES = {name for name in dir(SourceConformance) if name.startswith("test_")}
ALL = [*BADS, Bad("", of_class={"secrets": ["MADE_UP_TOKEN"]})]
"""The last one is good."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """What became of the rules for each source; all are tested in one run."""
    folder = tmp_path_factory.mktemp("bad")
    tests = ["from rayllm.testing import SourceConformance"]
    for number, bad in enumerate(ALL):
        name = f"bad-{number}"
        install(folder / "site", "source", name, f"{GOOD}\n{bad.code}\n{HOOK.format(name=name)}", bad.needs)
        uris = {word: [f"{name}:{what}"] for word, what in (("good", "there"), ("bad", "no name"), ("missing", "gone"))}
        told: dict[str, Any] = {"scheme": name, **uris, **bad.of_class}
        body = "\n    ".join(f"{name} = {value!r}" for name, value in told.items())
        tests.append(f"class Test{number}(SourceConformance):\n    {body}")
    (folder / "site" / "heavy_as_lead.py").touch()
    looked_at = {f"bad-{number}" for number, bad in enumerate(ALL) if bad.rule in {*FROM_OUTSIDE, ""}}
    found = run(folder, folder / "site", f"LOOKED_AT = {looked_at!r}\n{CONFTEST}", "\n\n".join(tests))
    return [found[f"Test{number}"] for number in range(len(ALL))]


@pytest.mark.parametrize("number", range(len(BADS)), ids=lambda number: f"{number}-{BADS[number].rule}")
def test_a_bad_source_breaks_its_rule_alone(outcomes: list[Outcome], number: int) -> None:
    """The rule fails with what was seen, and no other one does."""
    bad, told = BADS[number], outcomes[number]
    assert set(told) == RULES
    failed = failures(told)
    assert set(failed) - {bad.may} == {bad.rule}, failed
    assert f"source bad-{number}" in failed[bad.rule]
    assert bad.said in failed[bad.rule]


def test_the_good_source_keeps_every_rule(outcomes: list[Outcome]) -> None:
    """The one that all the bad ones are made of."""
    assert {rule for rule, (state, _) in outcomes[-1].items() if state == "passed"} == RULES


def test_every_rule_has_a_source_that_breaks_it() -> None:
    """Else nobody knows whether it can fail."""
    assert {bad.rule for bad in BADS} == RULES
