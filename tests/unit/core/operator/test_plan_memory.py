"""The memory of models in a plan: what they need, what the nodes have, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.operator.conftest import OfCore, Open, Shown, ToyOptions
from tests.unit.core.test_memory import GIB, SMOLLM2_135M, safetensors

from rayllm import Device, MemorySettings, PluginError, Shape
from rayllm.cli.memory_text import memory_lines
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal
from rayllm.deployment.apply import up
from rayllm.deployment.compare import compare
from rayllm.deployment.plan import Plan
from rayllm.deployment.session import Session
from rayllm.errors import DeploymentError
from rayllm.plugin_info import PluginInfo
from rayllm.serving.weights.sources import FILE
from rayllm.testing.fake_dashboard import FakeDashboard

GPU = {"name": "NVIDIA L4", "memoryTotal": 24 * 1024}
Opened = Callable[..., Session]


def settings(options: ToyOptions, device: Device, reserved: int | None) -> MemorySettings:
    """The toy's: `size` thousand tokens, on GPUs 0.9 of each."""
    del reserved
    return MemorySettings(length=options.size * 1000, share=0.9 if device.kind == "cuda" else 1.0, overhead=GIB)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The folder of a model of 8 GiB, as far as its header says."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMOLLM2_135M))
    (folder / "model.safetensors").write_bytes(safetensors({"w": ("BF16", [4 * GIB], 8 * GIB)}))
    return folder


@pytest.fixture
def asked(opened: Open, weights: Path, dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Make a session of one model with these keys, on one node with a GPU."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0, "GPU": 2.0}}]
    dashboard.hardware = [{"raylet": {"nodeId": "n1"}, "mem": [64 * GIB, 0, 0.0, 0], "gpus": [GPU, GPU]}]

    def make(keys: str = "", *, elastic: bool = False, source: str = str(weights), **more: Any) -> Session:
        session = opened(f"name: demo\nmodels: {{m: {{engine: toy, source: '{source}'{keys}}}}}", elastic=elastic)
        toy = session.plugins.engines["toy"]
        session.plugins.sources["file"] = FILE
        split = lambda _, gpus: Shape.of(gpus)  # noqa: E731
        session.plugins.engines["toy"] = replace(toy, shape=split, memory=settings, **more)
        return session

    return make


def lines(plan: Plan) -> list[str]:
    """As a person reads them."""
    return [text for text, _ in memory_lines(plan.memory)]


def test_a_model_that_fits(asked: Opened) -> None:
    """The amounts, what they are a part of, and the formula; for programs with all that it was reckoned from."""
    plan = compare(asked(", resources: {gpus: 1}"))
    assert lines(plan) == [
        (
            "  memory of m: weights 8.0 GiB + KV cache 0.02 GiB + engine 1.0 GiB of 21.6 GiB "
            "(0.9 of the 24.0 GiB of each NVIDIA L4)"
        ),
        (
            "      tensor parallel 1; KV cache: 22.5 KiB a token = 30 layers × 2 × 3 KV heads × 64 × 2 bytes; "
            "holds 587.2 of 1000 tokens at once"
        ),
    ]
    assert plan.misfits == []
    (told,) = json.loads(json.dumps(plan.to_json()))["memory"]
    assert told["part"]["weights"] == 8 * GIB
    assert told["inputs"]["weights"] == [{"dtype": "BF16", "elements": 4 * GIB, "size": 8 * GIB, "expert": False}]
    assert told["inputs"]["architecture"]["kv_heads"] == 3
    assert told["inputs"]["settings"]["share"] == 0.9


def test_on_a_cpu(asked: Opened) -> None:
    """The memory of the largest node."""
    assert lines(compare(asked()))[0].endswith(" of 64.0 GiB (the memory of the largest node)")


def test_what_it_was(asked: Opened, dashboard: FakeDashboard) -> None:
    """A change of what is deployed tells both, and a request that is too long what would fit."""
    before = proposal.propose(session := asked(), session.find())
    dashboard.serve.put({"applications": list(before.apps.values())})
    assert compare(asked()).memory[0].was is None
    plan = compare(asked(", options: {size: 4000}"))
    assert lines(plan)[0].endswith("; was 9.0 GiB")
    assert lines(plan)[2] == (
        "  ! m: each part needs 94.8 GiB, and has 64.0 GiB: 2563185 tokens would fit, or more parts (GPUs), quantised "
        "weights, or larger nodes would help"
    )
    assert plan.misfits == []


def test_weights_that_are_too_large(asked: Opened, dashboard: FakeDashboard, shown: Shown) -> None:
    """`up` refuses them, unless the file says not to look; where nodes come on demand, others may come."""
    dashboard.hardware[0]["mem"][0] = 7 * GIB
    said = "m: the weights of each part need 8.0 GiB, and the largest there is has 7.0 GiB"
    assert compare(asked()).misfits == [said]
    with pytest.raises(DeploymentError, match=said) as caught:
        up(asked(), shown)
    assert "resources.check_memory: false" in str(caught.value.cure)
    assert not dashboard.serve.told
    unchecked = compare(asked(", resources: {check_memory: false}"))
    assert (unchecked.misfits, unchecked.memory[0].warning[:26]) == ([], "each part needs 9.0 GiB, a")
    assert compare(asked(elastic=True)).memory[0].room is None


def test_heads_that_cannot_be_split(asked: Opened) -> None:
    """Refused with the sizes that work, unless the engine pads them; whatever memory there is."""
    (said,) = compare(asked(", resources: {gpus: 2}", elastic=True)).misfits
    assert said == (
        "m: its 9 attention heads and 3 KV heads can't be split into 2 equal parts (tensor parallel); "
        "sizes that work: 1, 3, 9"
    )
    session = asked(", resources: {gpus: 2}")
    toy = session.plugins.engines["toy"]
    session.plugins.engines["toy"] = replace(toy, memory=lambda *given: replace(settings(*given), pads_heads=True))
    assert compare(session).misfits == []


def test_a_model_that_cannot_be_seen(asked: Opened, dashboard: FakeDashboard) -> None:
    """It may be there on the nodes: no error, and nothing is made up."""
    plan = compare(asked(source="/no/such/model"))
    assert lines(plan) == ["  memory of m: not known: there is no /no/such/model on this machine"]
    session = asked()
    session.plugins.sources["file"] = replace(FILE, look=None)
    assert lines(compare(session)) == ["  memory of m: not known: what file: names can't be seen from here"]
    dashboard.hardware = []
    assert ", and the nodes have not reported theirs" in lines(compare(asked()))[0]


def test_a_source_that_fails(asked: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plugin is named; the plan is made all the same."""

    def look(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(OfCore, "origin_of", lambda *_: PluginInfo(name="source-x", module="x"))
    session = asked()
    session.plugins.sources["file"] = replace(FILE, look=look)
    (line,) = lines(compare(session))
    assert line == "  memory of m: not known: plugin source-x can't look at the model: KeyError: 'x'"


def test_an_engine_that_fails(asked: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be no better when it starts."""

    def memory(*_: Any) -> MemorySettings:
        raise ZeroDivisionError

    monkeypatch.setattr(OfCore, "origin_of", lambda *_: PluginInfo(name="engine-x", module="x"))
    session = asked()
    session.plugins.engines["toy"] = replace(session.plugins.engines["toy"], memory=memory)
    with pytest.raises(PluginError, match="can't tell what memory it needs"):
        compare(session)


def test_an_engine_that_does_not_tell(asked: Opened) -> None:
    """Nothing is said, nothing is looked at."""
    session = asked(source="/no/such/model")
    session.plugins.engines["toy"] = replace(session.plugins.engines["toy"], memory=None)
    assert (compare(session).memory, session.seen) == ([], {})
