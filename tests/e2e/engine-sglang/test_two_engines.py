"""vLLM and SGLang at once on one cluster, from the example of the README: one file, one endpoint.

The tests go on from one another, in this order.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, marked, until

from rayllm.serving.processes.reaper import descendants

EXAMPLE = Path(__file__).parents[3] / "examples/two-engines.yaml"
UP_S = 1200
"""Building two environments on an empty cache, converting the weights and starting, on a busy machine."""
PORT = free_port()
ENGINES = {"by-vllm": "vllm", "by-sglang": "sglang"}
MEMORY = 24 << 30
"""What both engines, Ray and the gateway stay within."""


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """The client that applications use."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, name: str, **more: Any) -> Any:
    """A question with one right answer."""
    asked: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    return client.chat.completions.create(
        **{"model": name, "messages": asked, "temperature": 0, "max_tokens": 16, **more}
    )


def test_both_come_up(rayllm: Rayllm) -> None:
    """The example as it is, but for the port."""
    written = yaml.safe_load(EXAMPLE.read_text())
    written["gateway"]["port"] = PORT
    rayllm.write(yaml.safe_dump(written))
    rayllm("up", "--yes", seconds=UP_S)
    states = {name: model["state"] for name, model in rayllm.json("status")["models"].items()}
    assert states == dict.fromkeys(ENGINES, "ready")


@pytest.mark.parametrize("name", ENGINES)
def test_each_answers(client: openai.OpenAI, name: str) -> None:
    """Whole and streamed, with its tokens counted."""
    answer = ask(client, name)
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0
    chunks = list(ask(client, name, stream=True))
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("name", ENGINES)
def test_each_answers_in_a_form(client: openai.OpenAI, name: str) -> None:
    """Structured output, as both declare it."""
    schema = {"type": "object", "properties": {"capital": {"type": "string", "maxLength": 8}}, "required": ["capital"]}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = ask(client, name, max_tokens=64, response_format=form)
    assert set(yaml.safe_load(answer.choices[0].message.content or "")) == {"capital"}


def test_one_name_stands_for_both(client: openai.OpenAI) -> None:
    """The alias of the example: one request in two goes to each."""
    told = {ask(client, "smollm2", max_tokens=1).model for _ in range(20)}
    assert told == set(ENGINES)


def test_status_tells_what_each_runs_with(rayllm: Rayllm) -> None:
    """Version, environment, device and load; and all of it fits into the machine."""
    until("both tell that they have nothing to do", lambda: _loads(rayllm) == [(0, 0), (0, 0)], 30)
    models = rayllm.json("status")["models"]
    for name, engine in ENGINES.items():
        (replica,) = models[name]["replicas"]
        assert replica["version"]
        assert replica["environment"].startswith(f"{engine}-cpu-")
        assert replica["device"] == "cpu"
    said = rayllm("status")
    for name, engine in ENGINES.items():
        assert f"{engine} {models[name]['replicas'][0]['version']} cpu" in said
    resident = sum(_resident(pid) for pid in marked(rayllm.home))
    assert 1 << 30 < resident < MEMORY


def test_a_killed_part_is_replaced_with_its_engine(rayllm: Rayllm, client: openai.OpenAI) -> None:
    """SGLang's scheduler dies: no part of that engine is left over, vLLM goes on, and SGLang is back by itself."""
    before = _parts(rayllm)
    os.kill(next(pid for pid, title in before.items() if title.startswith("sglang::scheduler")), signal.SIGKILL)
    until("the engine's other parts have ended", lambda: not before.keys() & _parts(rayllm).keys(), 60)
    assert "Paris" in ask(client, "by-vllm").choices[0].message.content
    until("SGLang answers again", lambda: _answers(client, "by-sglang"), UP_S)


def _loads(rayllm: Rayllm) -> list[tuple[float | None, float | None]]:
    """What the engines have to do: requests that they compute, and those that wait."""
    replicas = [replica for model in rayllm.json("status")["models"].values() for replica in model["replicas"]]
    return [(replica["computing"], replica["queued"]) for replica in replicas]


def _parts(rayllm: Rayllm) -> dict[int, str]:
    """SGLang's processes, by pid with their titles: its server and what descends from it."""
    servers = [pid for pid in marked(rayllm.home) if "sglang.launch_server" in command_of(pid).split()]
    parts = {pid for server in servers for pid in (server, *descendants(server))}
    return {pid: title for pid in parts if (title := command_of(pid))}


def _answers(client: openai.OpenAI, name: str) -> bool:
    """Whether it says the right thing."""
    try:
        return "Paris" in ask(client, name).choices[0].message.content
    except openai.APIError:
        return False


def _resident(pid: int) -> int:
    """Bytes of memory that a process has for itself; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * 4096
