"""LoRA adapters of a model that runs, with fake engines: in the file, by command, on later replicas, after a death."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Rayllm, until
from tests.integration.deployment.conftest import QUICK, Deployment
from tests.lora_files import save_adapter, save_model

Ask = Callable[[str], int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and adapters: three that fit it, and one that was made for a wider one."""
    made = tmp_path_factory.mktemp("files")
    save_model(made / "model")
    for name in ("sql", "poems", "more"):
        save_adapter(made / name)
    save_adapter(made / "other", width=16)
    return made


@pytest.fixture(scope="module")
def deployment(rayllm: Rayllm, folder: Path) -> Deployment:
    """A model with one adapter that holds three, and a model without any."""
    made = Deployment(rayllm)
    base = {**QUICK, "source": str(folder / "model"), "replicas": 1}
    made.models = {"base": {**base, "adapters": {"sql": str(folder / "sql")}}, "plain": QUICK}
    made.up()
    return made


def pids(deployment: Deployment, name: str, count: int = 12) -> set[int]:
    """Which engines answer by that name."""
    found = set()
    for _ in range(count):
        said = deployment.answer(name)
        assert said.startswith(f"fake {name} pid ")
        found.add(int(said.rpartition(" ")[2]))
    return found


def listed(deployment: Deployment) -> dict[str, Any]:
    """The adapters, by name."""
    return {one["name"]: {"model": one["model"], **one["status"]} for one in deployment.rayllm.json("adapters", "list")}


def test_an_adapter_of_the_file_serves(deployment: Deployment) -> None:
    """By its own name, from the engine of its model, which knows nothing of it in its command line."""
    assert pids(deployment, "sql") == pids(deployment, "base")
    found = listed(deployment)["sql"]
    assert (found["model"], found["state"], found["loaded"], found["added"]) == ("base", "loaded", 1, False)
    assert "sql      1/1       loaded" in deployment.rayllm("status", "base")
    assert "No changes" in deployment.rayllm("plan")


def test_one_is_added_and_removed_without_a_restart(deployment: Deployment, folder: Path) -> None:
    """The plan tells of it, `up` keeps it; one of the file that was removed, or replaced, comes back with `up`."""
    (before,) = pids(deployment, "base", 1)
    said = deployment.rayllm("adapters", "add", "poems", str(folder / "poems"), "--to", "base")
    assert "poems is an adapter of base, loaded on 1 replica" in said
    assert pids(deployment, "poems") == {before}
    assert deployment.rayllm("chat", "poems", "--once", "hi").startswith("fake poems pid")
    plan = deployment.rayllm("plan")
    assert f"base.adapters.poems: {folder / 'poems'}   (added by command, not in the file: it stays)" in plan
    deployment.rayllm("up")
    assert pids(deployment, "poems", 1) == {before}
    said = deployment.rayllm("adapters", "remove", "sql")
    assert f"rayllm up sets it back to {folder / 'sql'}" in said
    assert deployment.post("sql").status_code == 404
    assert f"adapters.sql: (not set) → {folder / 'sql'}" in deployment.rayllm("plan")
    assert "no restart" in deployment.rayllm("plan")
    deployment.rayllm("up")
    assert pids(deployment, "sql", 1) == {before}
    deployment.rayllm("adapters", "add", "sql", str(folder / "more"), "--to", "base")
    assert listed(deployment)["sql"]["source"] == str(folder / "more")
    deployment.rayllm("up")
    assert listed(deployment)["sql"]["source"] == str(folder / "sql")
    assert pids(deployment, "base") == {before}


def test_a_later_replica_has_them_and_so_has_one_after_a_death(deployment: Deployment, folder: Path) -> None:
    """Those of the file and those that were added."""
    deployment.rayllm("adapters", "add", "poems", str(folder / "poems"), "--to", "base")
    deployment.rayllm("scale", "base", "2")
    until("both answer by it", lambda: len(pids(deployment, "poems")) == 2, 30)
    assert pids(deployment, "sql") == pids(deployment, "poems") == pids(deployment, "base")
    before = pids(deployment, "poems")
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def again() -> bool:
        found = listed(deployment)
        return all((one["loaded"], one["replicas"]) == (2, 2) for one in found.values()) and not (
            pids(deployment, "poems") & before
        )

    until("two others have both", lambda: "fake poems" in deployment.try_answer("poems") and again(), 90)
    assert len(pids(deployment, "sql") & pids(deployment, "poems")) == 2
    deployment.rayllm("adapters", "remove", "poems")
    deployment.rayllm("scale", "base", "1")


def test_one_for_another_model_is_told_and_changes_nothing(deployment: Deployment, folder: Path) -> None:
    """With both sizes; by command all is as before, from the file the model goes on to serve without it."""
    said = deployment.rayllm("adapters", "add", "bad", str(folder / "other"), "--to", "base", status=1)
    assert f"the adapter in {folder / 'other'} is for another model" in said
    assert "q_proj is 16 wide there (in), and 8 in the model" in said
    assert "it says that it was made for org/base" in said
    assert set(listed(deployment)) == {"sql"}
    model = deployment.models["base"]
    deployment.models["base"] = {**model, "adapters": {**model["adapters"], "bad": str(folder / "other")}}
    deployment.write()
    said = deployment.rayllm("up", status=1)
    assert "✘ base  serves without the adapter bad: " in said
    assert "is for another model" in deployment.rayllm("status", status=0)
    assert pids(deployment, "base", 1) == pids(deployment, "sql", 1)
    assert deployment.post("bad").status_code == 503
    deployment.models["base"] = model
    deployment.up()


def test_what_can_not_be_added(deployment: Deployment, folder: Path) -> None:
    """Too many, a name that is taken, a model without adapters, no such folder: nothing is changed."""
    sql, poems, more = (str(folder / name) for name in ("sql", "poems", "more"))
    deployment.rayllm("adapters", "add", "two", poems, "--to", "base")
    deployment.rayllm("adapters", "add", "three", more, "--to", "base")
    said = deployment.rayllm("adapters", "add", "four", sql, "--to", "base", status=2)
    assert "base has 3 adapters, and a replica holds 3 at most" in said
    assert "'plain' is a model already" in deployment.rayllm("adapters", "add", "plain", sql, "--to", "base", status=2)
    said = deployment.rayllm("adapters", "add", "new", sql, "--to", "plain", status=2)
    assert "plain was deployed without adapters" in said
    said = deployment.rayllm("adapters", "remove", "thre", status=2)
    assert "there is no adapter 'thre'; did you mean \"three\"?" in said
    for name in ("two", "three"):
        deployment.rayllm("adapters", "remove", name)
    assert "there is no" in deployment.rayllm("adapters", "add", "new", "/no/such", "--to", "base", status=1)
    assert set(listed(deployment)) == {"sql"}


def test_clients_manage_none(deployment: Deployment, folder: Path) -> None:
    """The engine's own paths are closed at the endpoint; the list tells whose an adapter is."""
    body = json.dumps({"model": "base", "lora_name": "mine", "lora_path": str(folder / "sql")})
    for path in ("/v1/load_lora_adapter", "/models/base/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
        assert deployment.raw(path, body).status_code == 404
    assert set(listed(deployment)) == {"sql"}
    entries = {one["id"]: one.get("parent") for one in deployment.raw("/v1/models").json()["data"]}
    assert entries == {"base": None, "plain": None, "sql": "base"}
