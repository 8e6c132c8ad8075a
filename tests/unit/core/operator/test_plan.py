"""What `up` would change, in fields as the file names them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.operator.conftest import Open

from rayllm.cli.plan_text import plan_lines
from rayllm.cluster.bundle import Bundle
from rayllm.config.schema import ModelConfig
from rayllm.deployment.plan import Change, FieldChange, has_changes, plan
from rayllm.deployment.serve_config import gateway_app, model_app
from rayllm.serving.spec import GATEWAY_APP

CODE = Bundle("rayllm-1.zip", b"", {"rayllm-core": "0.1.0", "rayllm-engine-toy": "0.3.1"})


def code(number: int, **versions: str) -> Bundle:
    """Other code than `CODE`; distributions with `_` for `-`."""
    told = {name.replace("_", "-"): version for name, version in versions.items()}
    return Bundle(f"rayllm-{number}.zip", b"", {**CODE.versions, **told})


def app(attempt: int = 0, code: Bundle = CODE, **model: Any) -> dict[str, Any]:
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
        ({"code": code(2)}, FieldChange("code", CODE.uri, "gcs://rayllm-2.zip"), "restarts its replica"),
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


def test_another_version_of_a_plugin() -> None:
    """The cluster's and this machine's, and what it means: the file is unchanged, so there is nothing else to tell."""
    changes = plan({"m": app(code=code(2, rayllm_engine_toy="0.4.0"))}, {"m": app()})
    assert changes[0].fields == (
        FieldChange("code", CODE.uri, "gcs://rayllm-2.zip"),
        FieldChange("code.rayllm-engine-toy", "0.3.1", "0.4.0"),
    )
    assert [line for line, _ in plan_lines(changes)] == [
        "  ~ m            restarts its replica",
        "      code: the cluster runs rayllm-engine-toy 0.3.1, this machine has 0.4.0",
    ]


def test_an_older_version_of_a_plugin() -> None:
    """An operator who has not upgraded is told so: `up` would put back what runs."""
    changes = plan({"m": app(code=code(2, rayllm_core="0.0.9"))}, {"m": app()})
    (line,) = [line for line, _ in plan_lines(changes)][1:]
    assert line == "      code: the cluster runs rayllm-core 0.1.0, this machine has the older 0.0.9"


def test_versions_without_an_order() -> None:
    """Told as they are."""
    changes = plan({"m": app(code=code(2, rayllm_core="of today"))}, {"m": app()})
    (line,) = [line for line, _ in plan_lines(changes)][1:]
    assert line == "      code: the cluster runs rayllm-core 0.1.0, this machine has of today"


def test_other_code_of_the_same_version() -> None:
    """A plugin under development: told as other code."""
    (line,) = [line for line, _ in plan_lines(plan({"m": app(code=code(2))}, {"m": app()}))][1:]
    assert line == "      code: gcs://rayllm-1.zip → gcs://rayllm-2.zip"


def test_another_engine_brings_its_own_plugin() -> None:
    """The engine is told, not which distributions come and go with it; so it is after an upgrade from no versions."""
    other = Bundle("rayllm-3.zip", b"", {"rayllm-core": "0.1.0", "rayllm-engine-other": "2.0"})
    assert [field.field for field in only(app(engine="other", code=other), app()).fields] == ["code", "engine"]
    before = app()
    del before["args"]["versions"]
    assert [field.field for field in only(app(code=other), before).fields] == ["code"]


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
        assert FieldChange("code", None, CODE.uri) in change.fields


def test_the_gateways_code(opened: Open) -> None:
    """Its own restarts it; that of a model is told with the model, and the gateway keeps it without a restart."""
    checked = opened().checked
    before = gateway_app(checked, 8001, CODE)
    assert only(gateway_app(checked, 8001, CODE, others=[code(2)]), before, GATEWAY_APP).kind == "keep"
    change = only(gateway_app(checked, 8001, code(2, rayllm_core="0.2.0")), before, GATEWAY_APP)
    assert change.effect == "restarts the gateway"
    assert FieldChange("code.rayllm-core", "0.1.0", "0.2.0") in change.fields


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
        "added": {},
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
