"""A deployment whose engine runs in a container, on real Ray with a stand-in for docker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Rayllm, until
from tests.integration.core.stand_in_runtime import Daemon
from tests.integration.deployment.conftest import QUICK, Deployment

IMAGE = "some/engine:v1"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """The first on PATH, of the nodes too."""
    folder = tmp_path / "bin"
    folder.mkdir()
    found = Daemon(folder, registry={IMAGE})
    for kind in ("docker", "podman"):
        found.client(kind)
    found.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield found
    found.stop()


def test_a_model_in_an_image(rayllm: Rayllm, daemon: Daemon, tmp_path: Path) -> None:
    """It is pulled ahead, serves, is started anew when it was killed, and no container is left."""
    (tmp_path / "model").mkdir()
    deployment = Deployment(rayllm)
    deployment.models = {"boxed": {**QUICK, "image": IMAGE, "source": str(tmp_path / "model")}}
    deployment.write()
    (prepared,) = rayllm.json("pull")
    assert (prepared["environment"], prepared["state"], daemon.images) == (IMAGE, "ready", {IMAGE})
    deployment.up()
    first = deployment.engine_pid("boxed")
    assert [process.pid for process in daemon.containers.values()] == [first]
    (replica,) = rayllm.json("status")["models"]["boxed"]["replicas"]
    assert replica["environment"] == IMAGE
    next(iter(daemon.containers.values())).kill()
    until("another serves", lambda: "pid" in (said := deployment.try_answer("boxed")) and str(first) not in said, 60)
    rayllm("down", "--yes")
    assert daemon.containers == {}
    assert sum(call[0] == "pull" for call in daemon.calls) == 1
