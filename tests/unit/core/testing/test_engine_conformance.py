"""The kit for engines fails on every plugin that breaks a rule, for that rule alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.testing.bad_engines import BADS, GOOD, HOOK, Bad
from tests.unit.core.testing.kit_runs import Outcome, failures, install, run

from rayllm.testing import EngineConformance

CONFTEST = """
from rayllm.testing.engine_kit import base, process_rules
from rayllm.testing.outside.look import look

process_rules.CANCEL_S = process_rules.STOP_S = 2.0

def look_at_some(program, request, **how):
    return look(program, request, **how) if request["name"] in LOOKED_AT else ({}, "")

base.look = look_at_some
"""
"""Less patience, and no Python of its own for engines that another rule is about: each look takes a second."""
FROM_OUTSIDE = {
    "test_its_import_is_light",
    "test_its_import_prints_nothing",
    "test_its_check_is_quick_and_changes_nothing",
    "test_its_commands_are_pure",
}
RULES = {name for name in dir(EngineConformance) if name.startswith("test_")}
BY_OPTION = Bad(
    "", "told['capabilities'].add('tools')", of_class={"feature_options": {"tools": {"fault": "tools"}}, "not_run": ""}
)
ALL = [*BADS, BY_OPTION, Bad("", "told['capabilities'] |= ABLE", of_class={"options": [{"fault": "none"}]})]
"""The last one is good, and does whatever can be declared."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """What became of the rules for each engine; all are tested in one run."""
    folder = tmp_path_factory.mktemp("bad")
    tests = ["from rayllm.testing import EngineConformance"]
    for number, bad in enumerate(ALL):
        install(
            folder / "site",
            "engine",
            f"bad-{number}",
            f"{GOOD}\n{bad.code}\n{HOOK.format(name=f'bad-{number}')}",
            bad.needs,
        )
        told: dict[str, Any] = {"engine": f"bad-{number}", "not_run": "" if bad.runs else "not here", **bad.of_class}
        body = "\n    ".join(f"{name} = {value!r}" for name, value in told.items())
        tests.append(f"class Test{number}(EngineConformance):\n    {body}")
    (folder / "site" / "heavy_as_lead.py").touch()
    looked_at = {f"bad-{number}" for number, bad in enumerate(ALL) if bad.rule in {*FROM_OUTSIDE, ""}}
    found = run(folder, folder / "site", f"LOOKED_AT = {looked_at!r}\n{CONFTEST}", "\n\n".join(tests))
    return [found[f"Test{number}"] for number in range(len(ALL))]


@pytest.mark.parametrize("number", range(len(BADS)), ids=lambda number: f"{number}-{BADS[number].rule}")
def test_a_bad_engine_breaks_its_rule_alone(outcomes: list[Outcome], number: int) -> None:
    """The rule fails with what was seen, and no other one does."""
    bad, told = BADS[number], outcomes[number]
    assert set(told) == RULES
    failed = failures(told)
    assert set(failed) == {bad.rule}, failed
    assert f"engine bad-{number}" in failed[bad.rule]
    assert bad.said in failed[bad.rule]


def test_the_good_engine_keeps_every_rule(outcomes: list[Outcome]) -> None:
    """The one that all the bad ones are made of; only what it has none of is left out."""
    assert failures(outcomes[-1]) == {}
    skipped = {rule for rule, (state, _) in outcomes[-1].items() if state == "skipped"}
    assert skipped == {"test_its_check_is_quick_and_changes_nothing"}


def test_a_feature_that_takes_other_options_is_not_asked_for(outcomes: list[Outcome]) -> None:
    """The process was started without them; that they change the command is a rule of its own."""
    state, said = outcomes[len(BADS)]["test_it_takes_tools"]
    assert state == "skipped"
    assert "tools takes {'fault': 'tools'}, and it is started with {}" in said


def test_every_rule_has_an_engine_that_breaks_it() -> None:
    """Else nobody knows whether it can fail."""
    assert {bad.rule for bad in BADS} == RULES
