"""What `up` would change, in fields as the file names them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.operator.conftest import Open

from rayllm.cli.plan_text import plan_lines
from rayllm.config.schema import ModelConfig
from rayllm.deployment.plan import Change, FieldChange, has_changes, plan
from rayllm.deployment.serve_config import gateway_app, model_app
from rayllm.serving.spec import GATEWAY_APP

CODE = "gcs://rayllm-1.zip"


def app(attempt: int = 0, code: str = CODE, **model: Any) -> dict[str, Any]:
    """The application of a model."""
    given: dict[str, Any] = {"engine": "toy", "source": "file:/weights/small"}
    return model_app("demo", "m", ModelConfig.model_validate({**given, **model}), code, attempt)


def only(wanted: dict[str, Any], deployed: dict[str, Any], name: str = "m") -> Change:
    """The one change between two applications."""
    (change,) = plan({name: wanted}, {name: deployed})
    return change


def test_nothing_is_there_yet() -> None:
    """All is added, with what it is."""
    changes = plan({"m": app(replicas=2, resources={"gpus": 1, "memory": "8GiB"})}, {})
    assert changes == [
        Change("add", "m", summary="toy · small · 2 replicas · needs 1 GPU, 1 CPU, 8 GiB"),
    ]
    assert has_changes(changes)


def test_all_is_as_the_file_says() -> None:
    """Nothing changes."""
    change = only(app(), app())
    assert (change.kind, change.fields, change.effect) == ("keep", (), "")
    assert not has_changes([change])


@pytest.mark.parametrize(
    ("after", "field", "effect"),
    [
        ({"options": {"size": 2}}, FieldChange("options.size", None, 2), "restarts its replica"),
        ({"engine": "other"}, FieldChange("engine", "toy", "other"), "restarts its replica"),
        ({"drain_s": 5.0}, FieldChange("drain_s", 600, 5.0), "restarts its replica"),
        ({"code": "gcs://new.zip"}, FieldChange("code", CODE, "gcs://new.zip"), "restarts its replica"),
        ({"replicas": 3}, FieldChange("replicas", 1, 3), "no restart"),
        (
            {"replicas": {"min": 0, "max": 4}},
            FieldChange("replicas", 1, {"min": 0, "max": 4, "target_ongoing": 8}),
            "no restart",
        ),
    ],
)
def test_a_changed_field(after: dict[str, Any], field: FieldChange, effect: str) -> None:
    """By its name in the file, before and after, with what it does to what runs."""
    change = only(app(**after), app())
    assert (change.kind, change.fields, change.effect) == ("change", (field,), effect)


def test_several_replicas_restart_in_turn() -> None:
    """The endpoint goes on serving."""
    assert only(app(replicas=2, engine="x"), app(replicas=2)).effect == "restarts its replicas, a few at a time"


def test_what_failed_is_tried_again() -> None:
    """Said in words: the file did not change."""
    change = only(app(attempt=3), app(attempt=2))
    assert (change.kind, change.fields, change.effect) == ("change", (), "tries again what failed")


def test_a_model_that_the_file_no_longer_has() -> None:
    """It stops, whatever its config holds."""
    assert plan({}, {"m": {"name": "demo--m"}}) == [Change("remove", "m", effect="stops it")]


def test_an_application_that_somebody_else_made() -> None:
    """It is replaced by ours, and what it lacks is `None`."""
    theirs: dict[str, Any]
    for theirs in ({"name": "demo--m"}, {"args": None, "deployments": [], "runtime_env": {}}):
        change = only(app(), theirs)
        assert change.kind == "change"
        assert FieldChange("engine", None, "toy") in change.fields
        assert FieldChange("code", None, CODE) in change.fields


def test_the_gateway(opened: Open) -> None:
    """Another model is no restart, another port is one."""
    models = "models: {m: {engine: toy, source: file:/m}%s}"
    before = gateway_app(opened(f"name: demo\n{models % ''}").checked, 8001, CODE)
    more = gateway_app(opened(f"name: demo\n{models % ', n: {engine: toy, source: file:/n}'}").checked, 8001, CODE)
    moved = gateway_app(opened(f"name: demo\n{models % ''}\ngateway: {{port: 8100}}").checked, 8001, CODE)
    change = only(more, before, GATEWAY_APP)
    assert (change.name, change.fields, change.effect) == (
        "gateway",
        (FieldChange("models", ["m"], ["m", "n"]),),
        "",
    )
    change = only(moved, before, GATEWAY_APP)
    assert (change.fields, change.effect) == ((FieldChange("port", 8000, 8100),), "restarts the gateway")


def test_as_json() -> None:
    """For programs."""
    assert only(app(replicas=2), app()).to_json() == {
        "kind": "change",
        "name": "m",
        "fields": ({"field": "replicas", "before": 1, "after": 2},),
        "effect": "no restart",
        "summary": "toy · small · 2 replicas · needs 1 CPU",
    }


def test_values_are_told_as_the_file_has_them() -> None:
    """Not as Python would write them."""
    changes = plan({"m": app(options={"a": {"b": True, "c": [1, "x"]}})}, {"m": app(options={"a": False})})
    assert [line for line, _ in plan_lines(changes)][1:] == ["      options.a: false → {b: true, c: [1, x]}"]


def test_as_a_person_reads_it() -> None:
    """One line for each change and each field, marked and styled."""
    changes = plan(
        {"new": app(), "same": app(), "other": app(options={"size": 2}), "again": app(attempt=1)},
        {"same": app(), "other": app(), "again": app(), "old": app()},
    )
    assert list(plan_lines(changes)) == [
        ("  + new          toy · small · 1 replica · needs 1 CPU", "good"),
        ("  = same         toy · small · 1 replica · needs 1 CPU", "dim"),
        ("  ~ other        restarts its replica", "warning"),
        ("      options.size: (not set) → 2", "warning"),
        ("  ~ again        tries again what failed", "warning"),
        ("  - old          stops it", "bad"),
    ]


def test_routes_change_without_a_restart(opened: Open) -> None:
    """Aliases, a model's routing and the largest body: told by name, and nothing stops."""
    text = "name: demo\nmodels: {{m: {{engine: toy, source: file:/m{}}}}}\ngateway: {{{}}}"
    before = gateway_app(opened(text.format("", "")).checked, 8001, CODE)
    routing, more = ", routing: {balance: prefix, max_queue: 0}", "aliases: {chat: m}, max_body: 1MiB"
    change = only(gateway_app(opened(text.format(routing, more)).checked, 8001, CODE), before, GATEWAY_APP)
    assert change.fields == (
        FieldChange("aliases", {}, {"chat": {"m": 1}}),
        FieldChange("m.routing.balance", None, "prefix"),
        FieldChange("m.routing.max_queue", None, 0),
        FieldChange("max_body", 64 << 20, 1 << 20),
    )
    assert change.effect == ""
