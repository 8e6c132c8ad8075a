"""Nodes prepared ahead, by a job that needs no gateway: two versions of one engine, built once and never again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Rayllm, free_port, until
from tests.distributions import Site
from tests.wheels import wheel

from rayllm.serving.processes.supervised import marked

ENGINE = {
    "rayllm_engine_tiny/__init__.py": """
from dataclasses import replace
from rayllm import Environment, hookimpl
from rayllm.testing import fake_engine

@hookimpl
def rayllm_engines():
    wanted = Environment(["tiny-engine==2.0"], imports=["tiny_engine"], locked=True)
    for engine in fake_engine.rayllm_engines():
        yield replace(engine, name="tiny", environment=wanted)
""",
}
ON_IMPORT = """
import os, pathlib, time
place = pathlib.Path({place!r})
(place / f"built-{version}-{{os.getpid()}}").touch()
while {slow} and not (place / "open").exists():
    time.sleep(0.02)
"""
JOB = "rayllm.serving.prepare.on_node"


class Deployment:
    """A file with one model of each version, and the builds so far."""

    def __init__(self, rayllm: Rayllm, place: Path) -> None:
        self.rayllm = rayllm
        self.place = place
        self.port = free_port()

    def write(self, *versions: str | None) -> None:
        """A model `m1`, `m2`, … for each version; the plugin's own for None."""
        model = {"engine": "tiny", "source": "/", "resources": {"cpus": 0.25}, "replicas": 2, "drain_s": 5}
        models: dict[str, Any] = {
            f"m{number}": {**model, **({"version": version} if version else {})}
            for number, version in enumerate(versions, start=1)
        }
        cluster = {"backend": "local", "options": {"cpus": 4, "nodes": 2}}
        told = {"name": "pulled", "cluster": cluster, "models": models, "gateway": {"port": self.port}}
        self.rayllm.write(yaml.safe_dump(told))

    def builds(self) -> list[str]:
        """The version of each build: the engine's module is imported once after it."""
        return sorted(path.name.split("-")[1] for path in self.place.glob("built-*"))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The plugin installed for the command line alone, the engine's wheels in a folder that the nodes' pip knows."""
    site, place, wheels = (tmp_path_factory.mktemp(name) for name in ("site", "place", "wheels"))
    path = list(sys.path)
    Site(site, site).install("wheel", "rayllm-engine-tiny", ENGINE, "engine-tiny = rayllm_engine_tiny", version="0.1.0")
    sys.path[:] = path
    for version in ("1.0", "2.0", "3.0"):
        code = ON_IMPORT.format(place=str(place), version=version, slow=version == "3.0")
        wheel(wheels, "tiny_engine", version, {"tiny_engine.py": code.encode()})
    folder = tmp_path_factory.mktemp("rayllm")
    runner = Rayllm(folder, folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            patch.delenv(name)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_FIND_LINKS", str(wheels))
        patch.setenv("PIP_NO_INDEX", "1")
        made = Deployment(runner, place)
        made.write(None, "1")
        try:
            yield made
        finally:
            (place / "open").touch()
            runner("down", "--yes")


def test_both_versions_are_prepared_on_every_node(deployment: Deployment) -> None:
    """The cluster comes up for it, nothing is deployed; the two nodes share a disk, so each version is built once."""
    deployment.rayllm("pull", seconds=240)
    assert deployment.builds() == ["1.0", "2.0"]
    found = deployment.rayllm.json("pull")
    assert {(one["model"], one["version"], one["state"]) for one in found} == {
        ("m1", "2.0", "ready"),
        ("m2", "1.0", "ready"),
    }
    assert len({one["node"] for one in found}) == 2
    assert {one["weights"] for one in found} == {"/"}
    assert deployment.rayllm.json("status")["models"] == {}


def test_replicas_build_nothing_more(deployment: Deployment) -> None:
    """Four replicas on two nodes, of two versions of one engine; `status` tells which is which."""
    deployment.rayllm("up", "--yes", seconds=240)
    assert deployment.builds() == ["1.0", "2.0"]
    models = deployment.rayllm.json("status")["models"]
    told = {name: {replica["version"] for replica in model["replicas"]} for name, model in models.items()}
    assert told == {"m1": {"2.0"}, "m2": {"1.0"}}
    assert len(models["m1"]["replicas"]) == 2
    lines = deployment.rayllm("status").splitlines()
    assert [" ".join(line.split()[1:4]) for line in lines if line.startswith("m")] == ["tiny 2.0 cpu", "tiny 1.0 cpu"]


def test_the_nodes_environments_are_listed_and_checked(deployment: Deployment) -> None:
    """Each on each node, with the version that was asked for."""
    found = deployment.rayllm.json("env", "list", "-f", "rayllm.yaml")
    assert sorted((one["engine"], one["version"], one["state"]) for one in found) == [
        ("tiny", "", "ready"),
        ("tiny", "", "ready"),
        ("tiny", "1", "ready"),
        ("tiny", "1", "ready"),
    ]
    assert len({one["node"] for one in found}) == 2
    assert deployment.rayllm("env", "check", "-f", "rayllm.yaml").count("whole") == 4


def test_a_version_that_is_not_there_is_told_by_node(deployment: Deployment) -> None:
    """The resolver's own words with each node's name, and the other model is prepared all the same."""
    deployment.write(None, "9")
    said = deployment.rayllm("pull", status=1)
    assert said.count("✘ m2 on 127.0.0.1 (") == 2, said
    assert "you require tiny-engine==9.*" in " ".join(said.split())  # uv breaks its lines
    assert "the newest tiny-engine for this Python that the node's indexes have is 3.0" in said
    assert "2 of 4 preparations failed" in said
    assert said.count("m1 weights") == 2


def test_ctrl_c_stops_what_runs_on_the_nodes(deployment: Deployment) -> None:
    """Nothing of it goes on, nothing half done is taken for whole; the next one finishes it."""
    deployment.write(None, "3")
    process = deployment.rayllm.start("env", "build", "-f", "rayllm.yaml")
    until("the build imports the engine", lambda: "3.0" in deployment.builds(), 90)
    assert marked(JOB)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    until("nothing of it runs", lambda: not marked(JOB), 15)
    assert "Traceback" not in out + err
    found = deployment.rayllm.json("env", "list", "-f", "rayllm.yaml")
    assert {one["version"] for one in found if one["state"] == "ready"} == {"", "1"}
    (deployment.place / "open").touch()
    deployment.rayllm("env", "build", "-f", "rayllm.yaml")
    assert deployment.builds().count("3.0") >= 2
    python = next(
        one["path"] for one in deployment.rayllm.json("env", "list", "-f", "rayllm.yaml") if one["version"] == "3"
    )
    subprocess.run([f"{python}/bin/python", "-c", "import tiny_engine"], check=True)
