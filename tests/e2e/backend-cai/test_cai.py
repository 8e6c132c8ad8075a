"""From an API key to an answer in a stand-in workspace: real Ray, real vLLM, a real model. In this order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from tests.conftest import Rayllm, free_port, until

from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.testing import FakeCai

EXAMPLE = Path(__file__).parents[3] / "examples/cai.yaml"
HEAD = "team-llm"
UP_S, AGAIN_S = 900, 240
KEY = "sk-rayllm-of-the-whole-way"
STORY: Any = [{"role": "user", "content": "Tell me a long story."}]
CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
_PASSED = ("PIP_", "UV_", "HTTP", "http", "SSL_CERT")
"""Of this machine's environment, what its administrator would set for a workspace: how packages are found."""


@dataclass
class Operator(Rayllm):
    """The command line of somebody with an API key; applications are found through the workspace as a proxy."""

    fake: FakeCai

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command."""
        own = {"CML_HOST": self.fake.url, "CML_API_KEY": self.fake.key, "HTTP_PROXY": self.fake.url}
        return {**super().env, **own, "RAYLLM_API_KEYS": f"me={KEY}", "RAYLLM_API_KEY": KEY}

    def applications(self) -> dict[str, Application]:
        """Those of the project, by name."""
        with CaiClient(self.fake.workspace) as client:
            project = client.projects.named("llm-serving")[0]
            return {one.name: one for one in client.applications.all(project.id)}

    def client(self) -> openai.OpenAI:
        """The client that applications use."""
        return openai.OpenAI(
            base_url=f"http://{HEAD}.{self.fake.url.removeprefix('http://')}/v1",
            api_key=self.fake.key,
            default_headers={"x-api-key": KEY},
            http_client=openai.DefaultHttpxClient(proxy=self.fake.url),
            max_retries=0,
            timeout=120,
        )

    def ask(self) -> str:
        """The model's answer."""
        with self.client() as client:
            answer = client.chat.completions.create(model="smollm2", messages=CAPITAL, temperature=0, max_tokens=16)
        return answer.choices[0].message.content or ""

    def listen(self, heard: list[str]) -> None:
        """Have a long story told, word by word, until it ends."""
        with self.client() as client:
            chunks = client.chat.completions.create(
                model="smollm2", messages=STORY, max_tokens=900, stream=True, extra_body={"ignore_eos": True}
            )
            heard.extend(chunk.choices[0].delta.content or "" for chunk in chunks)

    def answers(self) -> str | None:
        """The same, None while nobody answers."""
        try:
            return self.ask()
        except openai.APIError:
            return None


@pytest.fixture(scope="module")
def rayllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator in a folder with the example's file, and a workspace that knows neither."""
    folder = tmp_path_factory.mktemp("cai")
    with FakeCai() as fake:
        cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv")
        passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
        fake.settings.environment = {**passed, "UV_CACHE_DIR": cache}
        share(fake.folder(fake.add_project("llm-serving")))
        operator = Operator(folder, folder / "home", fake)
        operator.write(yaml.safe_dump(example()))
        yield operator


def example() -> dict[str, Any]:
    """The example's file; in half precision, what a processor makes of so small a model is a matter of luck."""
    told: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    told["models"]["smollm2"]["options"]["dtype"] = "float32"
    return told


def share(project: Path) -> None:
    """Let the project have the engines' environments and weights that are kept from run to run."""
    if home := os.environ.get("RAYLLM_TEST_HOME"):
        for name in ("environments", "models"):
            (kept := Path(home, name)).mkdir(parents=True, exist_ok=True)
            (project / ".rayllm").mkdir(exist_ok=True)
            (project / ".rayllm" / name).symlink_to(kept)


def test_up(rayllm: Operator) -> None:
    """From a key to a model that answers; the steps are told."""
    said = rayllm("up", "--yes", seconds=UP_S)
    for step in ("workspace", "project", "files", "environment", "nodes", "cluster", "gateway", "smollm2"):
        assert f"✔ {step} " in said, said
    assert "ready, answered a first prompt" in said
    assert '"authorization: Bearer $CML_API_KEY"' in said
    assert '"x-api-key: $RAYLLM_API_KEY"' in said
    assert rayllm.fake.key not in said
    assert KEY not in said


def test_chat(rayllm: Operator) -> None:
    """By the command line and by OpenAI's client, behind the workspace's log-in."""
    assert "Paris" in rayllm("chat", "smollm2", "--temperature", "0", "--once", CAPITAL[0]["content"])
    assert "Paris" in rayllm.ask()


def test_nobody_else_gets_in(rayllm: Operator) -> None:
    """Without the workspace's log-in its page; with it and without a key of the endpoint 401."""
    url = f"http://{HEAD}.{rayllm.fake.url.removeprefix('http://')}/v1/models"
    with httpx.Client(proxy=rayllm.fake.url) as client:
        assert client.get(url).status_code == httpx.codes.FOUND
        behind = {"authorization": f"Bearer {rayllm.fake.key}"}
        assert client.get(url, headers=behind).status_code == httpx.codes.UNAUTHORIZED
        assert client.get(url, headers={**behind, "x-api-key": KEY}).status_code == httpx.codes.OK
        ray = url.replace("/v1/models", "/rayllm/ray/api/version")
        assert client.get(ray, headers={**behind, "x-api-key": KEY}).status_code == httpx.codes.UNAUTHORIZED


def test_a_second_up_changes_nothing(rayllm: Operator) -> None:
    """It reads, and says so."""
    before = len(rayllm.fake.calls)
    assert "No changes" in rayllm("plan")
    rayllm("up", "--yes")
    wrote = [f"{call.method} {call.path}" for call in rayllm.fake.calls[before:] if call.method != "GET"]
    assert [call for call in wrote if ":download" not in call and "validate_key" not in call] == []


def test_scale(rayllm: Operator) -> None:
    """A worker more, and away again; platform and Ray agree."""
    rayllm("nodes", "scale", "cpu", "2", seconds=AGAIN_S)
    assert states(rayllm) == {HEAD: "alive", f"{HEAD}-cpu-1": "alive", f"{HEAD}-cpu-2": "alive"}
    rayllm("nodes", "scale", "cpu", "1", seconds=AGAIN_S)
    assert len(states(rayllm)) == len(rayllm.applications()) == 1 + 1
    assert "Paris" in rayllm.ask()


def states(rayllm: Operator) -> dict[str, str]:
    """What Ray says of every node, by its name."""
    nodes = rayllm.json("status")["nodes"]
    assert {node["platform"] for node in nodes} == {"running"}
    return {node["name"]: node["state"] for node in nodes}


def test_a_head_that_is_killed_under_load(rayllm: Operator) -> None:
    """Who listens is told at once, none waits forever; the commands say what the platform says of it."""
    heard: list[list[str]] = [[] for _ in range(4)]
    with ThreadPoolExecutor(len(heard)) as pool:
        told = [pool.submit(rayllm.listen, words) for words in heard]
        until("all are being told something", lambda: all(heard), 60)
        rayllm.fake.pod(HEAD).kill()
        for one in told:
            assert isinstance(one.exception(timeout=30), (openai.APIError, httpx.TransportError))
    until("it is seen", lambda: rayllm.applications()[HEAD].status == "failed", 30)
    assert "failed" in rayllm("status", status=1)


def test_a_head_that_is_started_again(rayllm: Operator) -> None:
    """Elsewhere in the workspace, where it serves what was served, and its workers join it."""
    head = rayllm.applications()[HEAD]
    with CaiClient(rayllm.fake.workspace) as client:
        client.applications.restart(client.projects.named("llm-serving")[0].id, head.id)
    assert "Paris" in (until("the model answers again", rayllm.answers, AGAIN_S) or "")
    until("all nodes are back", lambda: rayllm.is_ready() and set(states(rayllm).values()) == {"alive"}, AGAIN_S)


def test_down_leaves_nothing(rayllm: Operator) -> None:
    """No application, no process; what was built stays for the next time."""
    rayllm("down", "--yes", seconds=AGAIN_S)
    assert rayllm.applications() == {}
    assert [one.name for one in rayllm.fake.workloads() if one.pod.processes()] == []
    assert "is not running" in rayllm("status", status=1)


def test_the_same_file_on_this_machine(rayllm: Operator, tmp_path: Path) -> None:
    """With another `cluster:` block, and nothing else, the same models are behind the same endpoint."""
    told = {**example(), "cluster": {"backend": "local"}}
    told["gateway"] = {**told["gateway"], "port": free_port()}
    home = os.environ.get("RAYLLM_TEST_HOME")
    here = Operator(tmp_path, Path(home) if home else tmp_path / "home", rayllm.fake)
    here.write(yaml.safe_dump(told))
    try:
        here("up", "--yes", seconds=UP_S)
        url = f"http://127.0.0.1:{told['gateway']['port']}/v1"
        with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["smollm2"]
            answer = client.chat.completions.create(model="smollm2", messages=CAPITAL, temperature=0, max_tokens=16)
        assert "Paris" in (answer.choices[0].message.content or "")
    finally:
        here("down", "--yes")
