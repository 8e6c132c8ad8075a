"""One deployment of fake engines on a real local Ray cluster, shared by the tests of a module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, marked, until

from rayllm.testing.fake_hub import FakeHub

QUICK: dict[str, Any] = {"engine": "fake", "source": "/", "resources": {"cpus": 0.25}, "drain_s": 5}


class Deployment:
    """A file, the command line, and a client of the endpoint."""

    def __init__(self, rayllm: Rayllm) -> None:
        self.rayllm = rayllm
        self.port = free_port()
        self.secrets: dict[str, Any] = {}
        self.gateway: dict[str, Any] = {}
        self.models: dict[str, Any] = {"one": QUICK, "two": {**QUICK, "options": {"answer": "two says so"}}}

    def write(self, **models: Any) -> None:
        """Write the file; by default with the models `one` and `two`."""
        text = yaml.safe_dump(
            {
                "name": "it",
                "cluster": {"backend": "local", "options": {"cpus": 4}},
                "models": models or self.models,
                "gateway": {"port": self.port, **self.gateway},
                "secrets": self.secrets,
            }
        )
        self.rayllm.write(text)

    def up(self) -> str:
        """Bring up what `models` says."""
        self.write()
        return self.rayllm("up", "--yes")

    def post(self, model: str, timeout_s: float = 30, key: str = "", **body: Any) -> httpx.Response:
        """Ask a model, with an API key or without."""
        asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], **body}
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        with httpx.Client(trust_env=False, timeout=timeout_s) as client:
            headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
            return client.post(url, content=json.dumps(asked), headers=headers)

    def raw(self, path: str, body: str | None = None) -> httpx.Response:
        """POST a body of JSON to any path of the endpoint, or GET it."""
        method, headers = ("GET", {}) if body is None else ("POST", {"content-type": "application/json"})
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.request(method, f"http://127.0.0.1:{self.port}{path}", content=body, headers=headers)

    def answer(self, model: str) -> str:
        """What a model says."""
        answer = self.post(model)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def try_answer(self, model: str) -> str:
        """What a model says, empty while it does not."""
        try:
            answer = self.post(model)
        except httpx.HTTPError:
            return ""
        return str(answer.json()["choices"][0]["message"]["content"]) if answer.status_code == 200 else ""

    def engine_pid(self, model: str) -> int:
        """The pid of the engine that answers: the fake engine says it."""
        return int(self.answer(model).split("pid ")[1].split()[0])

    def logs(self) -> list[Path]:
        """Every log of the cluster that runs: Ray's own, and ours beside them."""
        commands = map(command_of, marked(self.rayllm.home))
        (session,) = {line.partition("--session-dir=")[2].split(" ")[0] for line in commands} - {""}
        logs = [path for path in Path(session, "logs").rglob("*") if path.is_file()]
        assert logs
        return logs

    def wait_for(self, model: str, seconds: float = 60) -> str:
        """Wait until a model answers."""
        return until(f"{model} answers", lambda: self.try_answer(model), seconds)

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until `status` is content."""
        until("status is ready", self.rayllm.is_ready, seconds)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """The hub of the nodes, with nothing on it; a cluster has the environment of the `up` that started it."""
    with FakeHub({}) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", made.url)
        yield made


@pytest.fixture(scope="module")
def deployment(rayllm: Rayllm, hub: FakeHub) -> Deployment:
    """The deployment, up."""
    made = Deployment(rayllm)
    made.up()
    return made
