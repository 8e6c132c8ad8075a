"""An engine in a container, from the model to its answer, with a stand-in for docker and podman."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import until
from tests.integration.core.stand_in_runtime import Daemon
from tests.integration.core.test_engine_process import asked

from rayllm import DeploymentError
from rayllm.machine.engine_checks import image_checks
from rayllm.serving import where
from rayllm.serving.directory.state import LaterReport
from rayllm.serving.engine.preparing import Prepared, prepare
from rayllm.serving.engine.running import RunningEngine
from rayllm.serving.prepare import on_node
from rayllm.serving.processes.ports import hold_port
from rayllm.serving.spec import ModelSpec

IMAGE = "some/engine:v1"
BOUND_S = 60.0
SPEC = ModelSpec(deployment="d", model="m", engine="fake", source="", image=IMAGE, memory=1 << 30)


class Teller:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.facts: LaterReport = {}

    def detail(self, detail: str) -> None:
        """How far it is."""
        self.said.append(detail)

    def tell(self, facts: LaterReport) -> None:
        """What the environment is."""
        self.facts |= facts

    async def enter(self, phase: str) -> None:
        """A phase."""
        self.said.append(phase)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Its folder is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(where, "gpu_ids", list)
    found = Daemon(folder, registry={IMAGE})
    yield found
    found.stop()


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A model in a folder."""
    (tmp_path / "model").mkdir()
    return ModelSpec.from_args({**SPEC.to_args(), "source": str(tmp_path / "model")})


@asynccontextmanager
async def started(prepared: Prepared, folder: Path, replica: str = "r1") -> AsyncIterator[RunningEngine]:
    """As a replica does it."""
    port, marker = hold_port(), f"d--m:{replica}"
    (command,) = prepared.commands(host="127.0.0.1", port=port.number)
    running = RunningEngine.start(
        prepared.engine,
        command,
        base_url=f"http://127.0.0.1:{port.number}",
        log=folder / f"{replica}.log",
        marker=marker,
        gpu_ids=[],
        container=prepared.container(command, marker, []),
    )
    try:
        yield running
    finally:
        await running.stop(5)
        port.release()


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_from_the_image_to_an_answer(daemon: Daemon, spec: ModelSpec, tmp_path: Path, kind: str) -> None:
    """Pulled once, told meanwhile; the engine serves, and nothing is left when it was stopped."""
    daemon.client(kind)
    daemon.start()

    async def test() -> None:
        teller = Teller()
        prepared = await prepare(spec, teller)
        assert f"pulling {IMAGE}: 4f4fb700ef54: Pull complete" in teller.said
        assert teller.facts == {"version": "", "environment": IMAGE, "device": "cpu"}
        again = Teller()
        await prepare(spec, again)
        assert again.said == ["environment", "weights"]
        async with started(prepared, tmp_path) as running:
            await running.wait_until_serving(prepared.engine, "m", teller.detail)
            assert f"fake engine: loads {prepared.folder}" in running.log.read_text()
            status, body = await asked(running)
            assert (status, json.loads(body)["model"]) == (200, "m")
            (name,) = daemon.containers
            assert name == f"rayllm-{os.getuid()}.d--m.r1"
        assert daemon.containers == {}
        assert running.process.poll() == 0  # it was asked to end, through its client
        assert ["rm", "--force", name] in daemon.calls

    asyncio.run(asyncio.wait_for(test(), BOUND_S))


def test_what_a_killed_replica_leaves_is_removed_by_the_next(daemon: Daemon, spec: ModelSpec, tmp_path: Path) -> None:
    """A container outlives its client; another replica's, which lives, is left alone."""
    daemon.client("docker")
    daemon.start()

    async def test() -> None:
        prepared = await prepare(spec, Teller())
        async with started(prepared, tmp_path, "dead") as dead, started(prepared, tmp_path, "alive") as alive:
            for running in (dead, alive):
                await running.wait_until_serving(prepared.engine, "m", lambda _: None)
            os.kill(dead.process.reaper_pid, signal.SIGKILL)
            await asyncio.to_thread(until, "the client's end", lambda: dead.process.poll() is not None, 10)
            assert len(daemon.containers) == 2
            # The reaper is dead, and the client dies with it: no process has the replica's marker any more.
            await prepare(spec, Teller())
            assert list(daemon.containers) == [f"rayllm-{os.getuid()}.d--m.alive"]
            assert (await asked(alive))[0] == 200

    asyncio.run(asyncio.wait_for(test(), BOUND_S))


def test_an_image_that_the_registry_lacks(daemon: Daemon, spec: ModelSpec, capsys: pytest.CaptureFixture[str]) -> None:
    """The client's own words, for `rayllm pull` as for a replica."""
    daemon.client("docker")
    daemon.start()
    args = {**spec.to_args(), "image": "some/engine:v9"}
    assert on_node.main(json.dumps({"models": [args, spec.to_args()], "weights": False})) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [line["error"] for line in lines if "error" in line]
    assert error["message"] == "docker can't pull some/engine:v9"
    assert error["cause"].endswith("manifest for some/engine:v9 not found: manifest unknown")
    assert (error["cure"], error["topic"]) == (
        "correct the name or the tag: the registry has no some/engine:v9",
        "image",
    )
    assert [line["done"] for line in lines if "done" in line] == [IMAGE]


def test_no_daemon(daemon: Daemon, spec: ModelSpec) -> None:
    """A client alone is not enough; a podman that answers is."""
    daemon.client("docker")
    with pytest.raises(DeploymentError, match="no program on this node can run the model's image") as caught:
        asyncio.run(prepare(spec, Teller()))
    assert "Cannot connect to the Docker daemon" in str(caught.value.cause)
    assert caught.value.topic == "image"


def test_what_doctor_says(daemon: Daemon) -> None:
    """Which images are here, and which the first start will pull."""
    daemon.client("podman")
    daemon.start()
    daemon.images.add(IMAGE)
    said = [check.detail for check in image_checks([IMAGE, "other:v1"])]
    assert said == [f"podman has {IMAGE}", "other:v1 is not here yet: the first start pulls it"]


def test_a_container_that_does_not_start(daemon: Daemon, spec: ModelSpec, tmp_path: Path) -> None:
    """Told as the image's fault, not as the engine's."""
    daemon.client("docker")
    daemon.start()
    daemon.refuses = "docker: Error response from daemon: failed to create task for container"

    async def test() -> None:
        prepared = await prepare(spec, Teller())
        async with started(prepared, tmp_path) as running:
            with pytest.raises(DeploymentError, match="docker: the container could not be started") as caught:
                await running.wait_until_serving(prepared.engine, "m", lambda _: None)
            assert (caught.value.cause, caught.value.topic) == (daemon.refuses, "image")

    asyncio.run(asyncio.wait_for(test(), BOUND_S))
