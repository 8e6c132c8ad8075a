"""Whether a folder is a model that this node can load, and whether there is room for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rayllm import Device, InputError, RayllmError
from rayllm.serving.prepare.room import in_words, require_room
from rayllm.serving.weights.shape import memory_of_node, require_memory, require_model

CPU = Device(kind="cpu")


def model(folder: Path, *names: str) -> Path:
    """A folder with these files."""
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("config.json",),
        ("m.safetensors", "config.json", "tokenizer.json"),
        ("m.safetensors", "config.json", "vocab.txt"),
        ("m.bin", "config.json", "qwen.tiktoken"),
        ("consolidated.safetensors", "params.json", "tekken.json"),
        ("consolidated.00.pth", "params.json", "tokenizer.model.v3"),
    ],
)
def test_folders_that_an_engine_may_serve(tmp_path: Path, names: tuple[str, ...]) -> None:
    """In Hugging Face's shape or Mistral's; one without weights is the engine's to judge."""
    require_model(model(tmp_path, *names), {}, CPU)


def test_without_a_tokenizer(tmp_path: Path) -> None:
    """Told with what is looked for, unless the options say that it is elsewhere or not needed."""
    folder = model(tmp_path, "m.safetensors", "config.json", "special_tokens_map.json")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} has no tokenizer: no tokenizer.json")) as caught:
        require_model(folder, {"max_model_len": 8}, CPU)
    assert "name another tokenizer" in str(caught.value.cure)
    require_model(folder, {"engine_args": {"tokenizer": "/other"}}, CPU)


def test_without_settings(tmp_path: Path) -> None:
    """Weights alone are no model."""
    with pytest.raises(InputError, match=r"has weights, but neither config\.json nor"):
        require_model(model(tmp_path, "m.safetensors", "tokenizer.json"), {}, CPU)


def test_memory(tmp_path: Path) -> None:
    """Weights that are larger than the memory, with both numbers; a GPU has memory of its own."""
    with pytest.raises(InputError) as caught:
        require_memory(140_000_000_000, 68_000_000_000, Path("/m"))
    assert caught.value.message == "/m can't be loaded: its weights have 140 GB, this node's memory 68 GB"
    require_memory(68, 68, Path("/m"))
    assert 2**28 < memory_of_node() < 2**50
    folder = model(tmp_path, "m.safetensors", "config.json", "tokenizer.json")
    with (folder / "m.safetensors").open("r+b") as file:
        file.truncate(2**43)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"its weights have 8\.8 TB"):
        require_model(folder, {}, CPU)
    require_model(folder, {}, Device(kind="cuda"))
    (folder / "m.safetensors").rename(folder / "m.bin")
    model(folder, "m.safetensors")
    require_model(folder, {}, CPU)  # the larger copy, in another format, is not loaded


def test_room(tmp_path: Path) -> None:
    """Asked of the nearest folder that exists; told with what is needed, what is free and what to do."""
    require_room(tmp_path / "not" / "there", 1, "a byte")
    with pytest.raises(RayllmError, match=r"no room for a lot: 1000000 TB needed, .*B free at ") as caught:
        require_room(tmp_path / "not", 10**18, "a lot")
    assert "RAYLLM_HOME" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (4_100, "4.1 kB"), (93_000_000, "93 MB"), (3_800_000_000, "3.8 GB")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    """Two digits are enough."""
    assert in_words(size) == words
