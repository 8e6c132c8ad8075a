"""The source `hf:` as far as it needs no hub: the URI, the choice of files, and the words of rare errors."""

from __future__ import annotations

import pytest

from rayllm import InputError
from rayllm.serving.weights.hub_errors import explain
from rayllm.serving.weights.hub_files import choose
from rayllm.serving.weights.hub_uri import HubUri, parse_hub
from rayllm.serving.weights.script_run import FetchError
from rayllm.serving.weights.sources import HUB

COMMIT = "0123456789" * 4
URI = HubUri("org/model", "main", None)


@pytest.mark.parametrize(
    ("uri", "repo", "revision", "file"),
    [
        ("hf://Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "main", None),
        ("hf://org/m@v1.0", "org/m", "v1.0", None),
        ("hf://org/m@refs/pr/7/q/m.gguf", "org/m", "refs/pr/7", "q/m.gguf"),
        ("hf://org/m@a%2Fb/m.GGUF", "org/m", "a/b", "m.GGUF"),
        (f"hf://org/m@{COMMIT}/q/m.gguf", "org/m", COMMIT, "q/m.gguf"),
        ("hf://org/m.gguf-x/m.gguf", "org/m.gguf-x", "main", "m.gguf"),
    ],
)
def test_a_uri(uri: str, repo: str, revision: str, file: str | None) -> None:
    """What it names; only a commit is pinned."""
    assert HUB.check(uri) is None
    assert parse_hub(uri) == HubUri(repo, revision, file)
    assert parse_hub(uri).pinned == (revision == COMMIT)


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("hf:org/model", "write hf://ORG/NAME"),
        ("hf://model", "write hf://ORG/NAME"),
        ("hf://", "write hf://ORG/NAME"),
        ("hf://org/model@", "write hf://ORG/NAME"),
        ("hf://org/model/", "write hf://ORG/NAME"),
        ("hf://my org/model", '"my org" is no name on the hub'),
        ("hf://org/-model", '"-model" is no name on the hub'),
        ("hf://org/a--b", '"a--b" is no name on the hub'),
        ("hf://org/" + "m" * 93, "at most 96 characters"),
        ("hf://org/model@a b", '"a b" is no branch, tag or commit'),
        ("hf://org/model@..", '".." is no branch, tag or commit'),
        ("hf://org/model/model.safetensors", "no GGUF file; for a whole repository write hf://org/model"),
        ("hf://org/model/../x.gguf", "is no GGUF file"),
    ],
)
def test_a_malformed_uri(uri: str, wrong: str) -> None:
    """Told offline, with the form that is right."""
    assert wrong in str(HUB.check(uri))
    with pytest.raises(InputError):
        parse_hub(uri)


def chosen(*names: str) -> list[str]:
    """The files that are fetched of these."""
    return choose("org/model", dict.fromkeys(names, 1), None)


BESIDE = ("config.json", "tokenizer.model", "chat_template.jinja", "modeling_x.py", "merges.txt", "qwen.tiktoken")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (["a.safetensors", "a.bin", "a.pt", "a.pth", "a.h5", "a.msgpack", "a.onnx", "a.gguf"], ["a.safetensors"]),
        (["a.bin", "a.pt", "training_args.bin", "optimizer.pt"], ["a.bin"]),
        (["a.pt"], ["a.pt"]),
        (["a.safetensors", "1_Dense/pytorch_model.bin"], ["a.safetensors", "1_Dense/pytorch_model.bin"]),
        (["a.safetensors", "original/a.safetensors", "onnx/model.bin", "openvino/m.bin"], ["a.safetensors"]),
        (["model-1.safetensors", "consolidated.safetensors"], ["model-1.safetensors"]),
        (["consolidated.safetensors"], ["consolidated.safetensors"]),
        (["a.safetensors", "README.md", "a.png", ".gitattributes"], ["a.safetensors"]),
    ],
)
def test_which_files(there: list[str], wanted: list[str]) -> None:
    """The weights once, in the best format of each folder, and all that may be needed beside them."""
    assert chosen(*there, *BESIDE) == sorted([*wanted, *BESIDE])


def test_a_repository_without_weights() -> None:
    """Told with what it has instead."""
    with pytest.raises(InputError, match="org/model has no weights that can be served") as caught:
        chosen("data.parquet", "README.md")
    assert caught.value.cause == "it has README.md, data.parquet"


@pytest.mark.parametrize(
    ("kind", "missing", "message", "cure"),
    [
        ("refused", 0, "the hub refuses org/model", "has to name this repository"),
        ("file", 0, "a file of org/model that the hub lists is not there", "start again"),
        ("server", 0, "the hub has a fault of its own and did not give org/model", "start again later"),
        ("disk", 5_000_000, "the disk is full, with 5.0 MB of org/model still missing", "RAYLLM_HOME"),
        ("large", 0, "a file of org/model is larger than the hub gives over plain HTTP", "`hf download`"),
        ("other", 0, "org/model can't be fetched from the hub", "huggingface_hub's own"),
    ],
)
def test_rare_errors(kind: str, missing: int, message: str, cure: str) -> None:
    """Each has its own words, with the tool's as the cause."""
    problem = FetchError({"kind": kind, "words": "said so", "hub": "https://hub", "token": True})
    problem.missing = missing
    error = explain(URI, problem)
    assert (error.message, error.cause) == (message, "said so")
    assert cure in str(error.cure)
