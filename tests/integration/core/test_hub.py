"""Weights from the hub, with the real huggingface_hub against a hub of our own: no network but loopback."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import until
from tests.wheels import wheel

from rayllm import InputError, RayllmError
from rayllm.serving.prepare import interpreters
from rayllm.serving.weights import kept
from rayllm.serving.weights.sources import HUB
from rayllm.testing.fake_hub import FakeHub, FakeRepo

WEIGHTS = random.Random(1).randbytes(4_000_000)  # noqa: S311 - no secret
MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS[:20_000],
    "original/consolidated.00.pth": WEIGHTS[:30_000],
    "README.md": b"# A model",
}
TAKEN = ["config.json", "model.safetensors", "tokenizer.json"]
HALF = len(WEIGHTS) // 2 - 300_000
SECRET = "hf_very_secret_0123456789"
BOUND_S = 60.0
STAND_IN = {
    "huggingface_hub/__init__.py": b"""
from . import constants, errors
get_token = lambda: None
class HfApi:
    def __init__(self, **_): pass
    def model_info(self, *_, **__): raise errors.OfflineModeIsEnabled("offline")
""",
    "huggingface_hub/constants.py": b"ENDPOINT = 'https://hub'",
    "huggingface_hub/errors.py": b"""
class OfflineModeIsEnabled(Exception): pass
class GatedRepoError(Exception): pass
class RevisionNotFoundError(Exception): pass
class RemoteEntryNotFoundError(Exception): pass
class RepositoryNotFoundError(Exception): pass
class HfHubHTTPError(Exception): pass
""",
}
FETCHER = """
import sys
from pathlib import Path
from rayllm.serving.weights.sources import HUB
print("at", HUB.fetch(sys.argv[1], Path(sys.argv[2]), lambda detail: print(detail, flush=True)))
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with a few repositories; the node knows it by HF_ENDPOINT and has no login of its own."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    repos = {
        "org/model": FakeRepo(MODEL, refs=("main", "v1.0", "refs/pr/1")),
        "org/gguf": FakeRepo({"README.md": b"", "m-Q4.gguf": WEIGHTS, "m-Q8.gguf": WEIGHTS + b"8"}),
        "org/gated": FakeRepo(MODEL, gated=True, readers=frozenset({SECRET})),
        "org/private": FakeRepo(MODEL, private=True, readers=frozenset({SECRET})),
    }
    with FakeHub(repos, frozenset({"hf_somebody_else"})) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
        yield made


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node that has nothing yet."""
    return Node(tmp_path)


class Node:
    """Fetches, and keeps what was reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "home" / "models"
        self.told: list[str] = []

    def fetch(self, uri: str) -> Path:
        """The model."""
        return HUB.fetch(uri, self.cache, self.told.append)

    def fails(self, uri: str, kind: type[RayllmError] = RayllmError) -> RayllmError:
        """The error that a person sees."""
        with pytest.raises(kind) as caught:
            self.fetch(uri)
        return caught.value

    def give_token(self, token: str) -> None:
        """Lay the secret HF_TOKEN."""
        file = self.folder / "home" / "secrets" / "HF_TOKEN"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(token)

    def start(self, uri: str) -> subprocess.Popen[str]:
        """A process that fetches."""
        argv = [sys.executable, "-c", FETCHER, uri, str(self.cache)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def part(self) -> int:
        """Bytes of files that are not whole yet."""
        return sum(path.stat().st_size for path in self.cache.rglob("*.part"))


def names(folder: Path) -> list[str]:
    """The files of a model."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_model_is_fetched_once(hub: FakeHub, node: Node) -> None:
    """In one format and without the copies for other programs; a branch is asked for again, a commit is not."""
    folder = node.fetch("hf://org/model")
    assert names(folder) == TAKEN
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert "4 of 4 MB" in node.told
    loaded = len(hub.ranges())
    assert node.fetch("hf://org/model@v1.0") == node.fetch("hf://org/model@refs/pr/1") == folder
    asked = len(hub.requests)
    assert node.fetch(f"hf://org/model@{'a' * 40}") == folder
    assert len(hub.requests) == asked
    assert len(hub.ranges()) == loaded == 1


def test_a_new_commit_loads_only_what_changed(hub: FakeHub, node: Node) -> None:
    """Content is kept by its digest, so weights that stayed are not loaded again; the old commit stays, too."""
    old = node.fetch("hf://org/model")
    hub.repos["org/model"] = FakeRepo({**MODEL, "config.json": b'{"new": 1}'}, commit="b" * 40)
    new = node.fetch("hf://org/model")
    assert ((new / "config.json").read_bytes(), (old / "config.json").read_bytes()) == (b'{"new": 1}', b"{}")
    assert len(hub.ranges()) == 1


def test_a_gguf_file(hub: FakeHub, node: Node) -> None:
    """The one that is named; without a name, the error offers them all."""
    assert node.fetch("hf://org/gguf/m-Q4.gguf").read_bytes() == WEIGHTS
    problem = node.fails("hf://org/gguf", InputError)
    assert problem.message == "org/gguf holds GGUF files: name the one to serve"
    assert "source: hf://org/gguf/m-Q4.gguf   4.0 MB" in str(problem.cure)
    assert "m-Q8.gguf" in str(problem.cure)
    assert node.fails("hf://org/gguf/m-Q5.gguf", InputError).message == "org/gguf has no file m-Q5.gguf"


def test_gated(hub: FakeHub, node: Node) -> None:
    """Without a token, with one of somebody who may not, and with one of somebody who may."""
    problem = node.fails("hf://org/gated")
    assert problem.message == "org/gated is gated, and no token was sent"
    assert "Cannot access gated repo" in str(problem.cause)
    assert f"accept its terms at {hub.url}/org/gated" in str(problem.cure)
    assert "with `secrets: {HF_TOKEN: {env: HF_TOKEN}}` in the file" in str(problem.cure)
    assert f"{node.folder}/home/secrets/HF_TOKEN, mode 0600" in str(problem.cure)
    node.give_token("hf_somebody_else")
    problem = node.fails("hf://org/gated")
    assert problem.message == "org/gated is gated, and the token's owner may not read it"
    assert f"ask for access at {hub.url}/org/gated" in str(problem.cure)
    node.give_token(SECRET)
    assert names(node.fetch("hf://org/gated")) == TAKEN
    content = [headers for asked, headers in hub.requests if "/lfs/" in asked]
    assert content
    assert [headers for headers in content if "authorization" in headers] == []


def test_private_or_missing(hub: FakeHub, node: Node) -> None:
    """The hub does not tell which; with a token that may read it, it is there."""
    for name in ("private", "nothing"):
        problem = node.fails(f"hf://org/{name}", InputError)
        assert problem.message == f"the hub has no org/{name}, or it is private and no token was sent"
        assert "check the name; if it is private" in str(problem.cure)
    node.give_token("hf_somebody_else")
    problem = node.fails("hf://org/private", InputError)
    assert problem.message == "the hub has no org/private, or the token that was sent may not read it"
    node.give_token(SECRET)
    assert names(node.fetch("hf://org/private")) == TAKEN


def test_a_wrong_token(hub: FakeHub, node: Node) -> None:
    """Also where no token was needed; it does not stand in the error."""
    node.give_token("hf_made_up")
    problem = node.fails("hf://org/model")
    assert problem.message == "the hub does not know the token that was sent for org/model"
    assert "Invalid credentials" in str(problem.cause)
    assert "hf_made_up" not in str(problem)


def test_the_nodes_own_login(hub: FakeHub, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What huggingface_hub finds by itself counts where no secret is given."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert names(node.fetch("hf://org/gated")) == TAKEN
    node.give_token("hf_somebody_else")
    hub.repos["org/gated"].commit = "b" * 40
    assert node.fails(f"hf://org/gated@{'b' * 40}/m.gguf").message == "org/gated has no file m.gguf"


def test_a_missing_revision(hub: FakeHub, node: Node) -> None:
    """With the nearest one, and all that there are."""
    problem = node.fails("hf://org/model@v1.O", InputError)
    assert problem.message == "org/model has no revision v1.O"
    assert problem.cure == "did you mean @v1.0? it has main, v1.0, refs/pr/1"


def test_a_hub_out_of_reach(hub: FakeHub, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at once with the address; what was fetched earlier is used, and a note says so."""
    folder = node.fetch("hf://org/model")
    monkeypatch.setattr(kept, "FIRST_PATIENCE_S", 0.0)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert node.fetch("hf://org/model") == folder
    assert f"hf://org/model@main as fetched earlier, commit {'a' * 40}: the hub can't be reached" in node.told[-1]
    problem = node.fails("hf://org/model@v1.0")
    assert problem.message.startswith("the hub can't be reached for org/model from node ")
    assert "refused" in str(problem.cause)
    assert "check the way to http://127.0.0.1:9: network, proxy" in str(problem.cure)


def test_offline(hub: FakeHub, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is the node's own word: nothing is asked."""
    folder = node.fetch("hf://org/model")
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert node.fetch("hf://org/model") == folder
    problem = node.fails("hf://org/gguf/m-Q4.gguf")
    assert "and HF_HUB_OFFLINE forbids asking the hub" in problem.message
    assert len(hub.requests) == asked


def test_a_cut_connection_goes_on(hub: FakeHub, node: Node) -> None:
    """By itself, from the byte at which it was cut."""
    hub.faults.cut_after = [1_500_000, 1_000_000]
    assert (node.fetch("hf://org/model") / "model.safetensors").read_bytes() == WEIGHTS
    first, second, third = hub.ranges()
    assert first == 0 < second <= 1_500_000
    assert second < third <= second + 1_000_000


def test_a_hub_that_breaks_off(hub: FakeHub, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not come back: told how much is missing; the next try goes on from there."""
    monkeypatch.setattr(kept, "PATIENCE_S", 0.0)
    hub.faults.cut_after, hub.faults.away_after_cut = [1_500_000], True
    problem = node.fails("hf://org/model")
    assert re.fullmatch(r"the hub broke off in the middle of org/model: \d\.\d MB are missing", problem.message)
    assert re.search("disconnected|closed", str(problem.cause))
    assert f"start again once {hub.url} can be reached" in str(problem.cure)
    came = node.part()
    assert came > 0
    hub.faults.away = False
    assert (node.fetch("hf://org/model") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges()[-1] == came


def test_asked_to_wait(hub: FakeHub, node: Node) -> None:
    """An answer 429 is waited for; one that asks for an hour is told."""
    hub.faults.statuses, hub.faults.retry_after = [429], 1
    assert names(node.fetch("hf://org/model")) == TAKEN
    assert any(detail.startswith("the hub can't be read, trying again") for detail in node.told)
    hub.faults.statuses, hub.faults.retry_after = [429], 3600
    problem = node.fails("hf://org/gguf/m-Q4.gguf")
    assert problem.message == "the hub lets this address ask no more for org/gguf"
    assert "with a token it allows more" in str(problem.cure)


def test_a_fault_of_the_hub(hub: FakeHub, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again; then told as the hub's."""
    hub.faults.statuses = [500]
    assert names(node.fetch("hf://org/model")) == TAKEN
    monkeypatch.setattr(kept, "FIRST_PATIENCE_S", 0.0)
    hub.faults.statuses = [500]
    assert "has a fault of its own" in node.fails("hf://org/gguf/m-Q4.gguf").message


def test_damaged_content(hub: FakeHub, node: Node) -> None:
    """Thrown away, with both digests; the next try begins anew."""
    hub.faults.damaged = True
    problem = node.fails("hf://org/model")
    assert problem.message == "a file of org/model came damaged"
    assert str(problem.cause).startswith("model.safetensors: ")
    assert node.part() == 0
    hub.faults.damaged = False
    assert (node.fetch("hf://org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_killed_half_way_and_taken_up(hub: FakeHub, node: Node) -> None:
    """The script ends with whoever asked for it; the next process loads the rest."""
    hub.faults.gate = threading.Event()
    process = node.start("hf://org/model")
    until("half is there", lambda: node.part() >= HALF, BOUND_S)
    process.kill()
    process.communicate()
    until("the script is gone", lambda: not scripts(), BOUND_S)
    kept = node.part()
    hub.faults.gate.set()
    assert (node.fetch("hf://org/model") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ranges()[-1] == kept >= HALF


def test_several_at_once_load_once(hub: FakeHub, node: Node) -> None:
    """One loads and says how far it is, the others say that they wait; the token is in nobody's arguments."""
    node.give_token(SECRET)
    hub.faults.gate = threading.Event()
    processes = [node.start("hf://org/gated") for _ in range(3)]
    until("half is there", lambda: node.part() >= HALF, BOUND_S)
    for pid in [*scripts(), *(process.pid for process in processes)]:
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    hub.faults.gate.set()
    said = [process.communicate(timeout=BOUND_S)[0] for process in processes]
    assert sum("waiting for another process that fetches org/gated" in text for text in said) == 2
    assert sum("4 of 4 MB" in text for text in said) == 1
    assert len(hub.ranges()) == 1
    assert SECRET not in "".join(said)


def test_a_node_without_the_library(node: Node, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gets it in an environment of its own, once; here it is a stand-in that says that it is offline."""
    monkeypatch.setattr(interpreters, "satisfied_here", lambda _: False)
    wheel(wheels, "huggingface_hub", "1.9", STAND_IN)
    for _ in range(2):
        assert "HF_HUB_OFFLINE forbids asking" in node.fails("hf://org/model").message
    assert sum(detail.startswith("building hub-cpu-") for detail in node.told) == 1


def scripts() -> list[int]:
    """Processes that run the script of this test's home."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            argv, environ = ((folder / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"hub_script" in argv and f"HF_HOME={os.environ['HF_HOME']}".encode() in environ:
            found.append(int(folder.name))
    return found


def test_files_of_the_same_content_are_loaded_once(hub: FakeHub, node: Node) -> None:
    """They are one blob under several names."""
    same = {"config.json": b"{}", "generation_config.json": b"{}", "tokenizer.json": b"{}", "a.safetensors": WEIGHTS}
    hub.repos["org/same"] = FakeRepo(same)
    folder = node.fetch("hf://org/same")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == same
    assert len(list((node.cache / "hub" / "org--same" / "blobs").iterdir())) == 2


def test_cut_off_between_the_last_byte_and_its_digest(hub: FakeHub, node: Node) -> None:
    """All bytes are there and were never compared: the next fetch does that, and loads none of them again."""
    folder = node.fetch("hf://org/model")
    blob = (folder / "model.safetensors").resolve()
    blob.rename(blob.with_name(f"{blob.name}.part"))
    assert (node.fetch("hf://org/model") / "model.safetensors").read_bytes() == WEIGHTS
    assert blob.exists()
