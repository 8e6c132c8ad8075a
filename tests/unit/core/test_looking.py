"""A model's files from the operator's side: on this machine, inside a distribution, on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayllm import InputError, RayllmError
from rayllm.serving.weights.sources import FILE, HUB, PACKAGE
from rayllm.sources import ModelSource
from rayllm.testing.fake_hub import FakeHub, FakeRepo

WEIGHTS = bytes(range(256)) * 100
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "q/m.gguf": b"GGUF"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub that HF_ENDPOINT names: one open repository, and one for readers."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    gated = FakeRepo(FILES, private=True, readers=frozenset({"hf_reader"}))
    with FakeHub({"org/model": FakeRepo(FILES), "org/closed": gated}) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def look(
    source: ModelSource, uri: str, cache: Path, secrets: dict[str, str] | None = None
) -> tuple[dict[str, int], bytes]:
    """Sizes, and ten bytes of the weights."""
    assert source.look
    with source.look(uri, cache, secrets or {}) as files:
        name = max(files.sizes, key=lambda one: files.sizes[one])
        return dict(files.sizes), files.read(name, 20, 10)


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    """With what is in folders below; of a file, its own name."""
    (tmp_path / "q").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    sizes = {name: len(content) for name, content in FILES.items()}
    assert look(FILE, f"file:{tmp_path}", tmp_path) == (sizes, WEIGHTS[20:30])
    assert look(FILE, f"{tmp_path}/q/m.gguf", tmp_path) == ({"m.gguf": 4}, b"")


def test_a_path_that_is_elsewhere(tmp_path: Path) -> None:
    """It may be there on the nodes."""
    with pytest.raises(InputError, match="there is no /no/such/folder on this machine"):
        look(FILE, "file:/no/such/folder", tmp_path)


def test_a_distribution(tmp_path: Path) -> None:
    """An installed one; what is not here is not fetched."""
    sizes, _ = look(PACKAGE, "package:pydantic/plugin", tmp_path)
    assert "__init__.py" in sizes
    with pytest.raises(InputError, match="the distribution no-such-weights is not on this machine"):
        look(PACKAGE, "package:no-such-weights/a.gguf", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_repository(hub: FakeHub, tmp_path: Path) -> None:
    """Only what is asked for is loaded: of weights in LFS and of a small file, which comes whole."""
    sizes, part = look(HUB, "hf://org/model", tmp_path)
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert part == WEIGHTS[20:30]
    asked = [headers.get("range") for path, headers in hub.requests if "/lfs/" in path]
    assert asked == ["bytes=20-29"]
    assert HUB.look
    with HUB.look("hf://org/model", tmp_path, {}) as files:
        assert files.read("config.json", 2, 1) == b"a"
    assert look(HUB, "hf://org/model/q/m.gguf", tmp_path) == ({"q/m.gguf": 4}, b"")


def test_a_private_repository(hub: FakeHub, tmp_path: Path) -> None:
    """The token of the file's secrets opens it, and never leaves for the host of the content."""
    with pytest.raises(RayllmError, match="the hub answered HTTP 401 for org/closed"):
        look(HUB, "hf://org/closed", tmp_path)
    assert look(HUB, "hf://org/closed", tmp_path, {"HF_TOKEN": "hf_reader"})[1] == WEIGHTS[20:30]
    shown = {headers.get("authorization") for path, headers in hub.requests if "/lfs/" in path}
    assert shown == {None}


@pytest.mark.parametrize("token", ["hf reader", "hf_rea\nder", "hf_r\N{LATIN SMALL LETTER E WITH ACUTE}der"])
def test_a_token_that_is_none(hub: FakeHub, tmp_path: Path, token: str) -> None:
    """Its value stands in no text."""
    with pytest.raises(RayllmError, match="HF_TOKEN holds a space") as caught:
        look(HUB, "hf://org/closed", tmp_path, {"HF_TOKEN": token})
    assert token not in str(caught.value)
    assert hub.requests == []


def test_the_hub_is_away(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in one line; and it is not asked where that is forbidden."""
    hub.faults.away = True
    with pytest.raises(RayllmError, match="the hub can't be asked"):
        look(HUB, "hf://org/model", tmp_path)
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RayllmError, match="HF_HUB_OFFLINE forbids"):
        look(HUB, "hf://org/model", tmp_path)
    assert hub.requests == []


def test_what_was_fetched_here_is_not_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    """A node's cache on this machine is enough."""
    commit = "a" * 40
    folder = tmp_path / "hub/org--model"
    for name, content in {
        f"commits/{commit}.json": b'{"config.json": {"size": 8}, "model.safetensors": {"size": 25600}}',
        "refs/main": commit.encode(),
        f"snapshots/{commit}/config.json": FILES["config.json"],
        f"snapshots/{commit}/model.safetensors": WEIGHTS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert look(HUB, "hf://org/model", tmp_path)[1] == WEIGHTS[20:30]
    assert hub.requests == []
