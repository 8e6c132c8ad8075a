"""The nodes' environment, made by a job of the stand-in workspace with real uv and small wheels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cai import Cai
from tests.cai_environments import JOB, Nodes, preparation, serving

from rayllm_backend_cai import shared
from rayllm_backend_cai.api.jobs import RUN_MARK
from rayllm_backend_cai.bootstrap import asked
from rayllm_backend_cai.preparation import digest_of


@pytest.fixture
def nodes(cai: Cai, tmp_path: Path) -> Nodes:
    """Nothing is made yet."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    return Nodes(cai, wheels)


def test_it_is_made_once(nodes: Nodes) -> None:
    """By a runtime's Python that has no packages; afterwards one listing tells that all is there."""
    wanted = serving()
    told = nodes.ensure(wanted)
    assert told[-1] == ("environment", "ready")
    folder = nodes.folder / shared.SERVING / wanted.digest
    assert json.loads((folder / shared.READY).read_text())["versions"] == {"tiny_thing": "1.0"}
    assert "Installed 1 package" in nodes.logged
    assert nodes.record["state"] == "succeeded"
    assert "everything is there" in nodes.cai.fake.log(JOB)
    nodes.cai.calls.clear()
    assert nodes.ensure(wanted) == []
    (call,) = nodes.cai.calls
    assert (call.method, call.path.partition("/files")[2]) == ("GET", f"/.rayllm%2Fserving%2F{wanted.digest}")


def test_what_the_job_is_told_are_the_names_that_the_operator_uses() -> None:
    """The program can't import what needs pydantic."""
    names = (asked.CLUSTER, asked.SERVING_DIGEST, asked.RUN, asked.READY)
    assert names == (shared.CLUSTER, shared.SERVING_DIGEST, RUN_MARK, shared.READY)


def test_models_whose_engines_need_environments(nodes: Nodes) -> None:
    """Are prepared by RayLLM's own module in the nodes' Python, once."""
    wanted, models = serving(), preparation(a="tiny", b="tiny")
    told = nodes.ensure(wanted, models)
    assert told[-3:] == [*[("environment b", "tiny-cuda-1 · 3 GB free")] * 2, ("environment", "ready")]
    assert f"environment a: building {nodes.folder}/.rayllm" in nodes.logged
    nodes.cai.calls.clear()
    assert nodes.ensure(wanted, models) == []
    assert len(nodes.cai.calls) == 1


def test_only_what_an_environment_depends_on_asks_for_another() -> None:
    """A longer context does not; a version, GPUs or an option with a name do."""
    first = preparation(a="tiny")
    model = dict(first.models[0])

    def digest(**changes: object) -> str:
        return digest_of(replace(first, models=[{**model, **changes}]))

    same = [digest(), digest(model="b"), digest(gpus=4), digest(options={"max_model_len": 7}), digest(source="hf:x")]
    others = [digest(engine="x"), digest(version="2"), digest(gpus=0), digest(options={"load_format": "x"})]
    others += [digest(environment="/x"), digest_of(replace(first, digest="beef"))]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)
