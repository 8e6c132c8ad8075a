"""Weights from S3, with the real s3fs against moto's server: no network but loopback."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import until
from tests.integration.core.s3_store import KEY, SECRET, S3Store

from rayllm import InputError, RayllmError
from rayllm.looking import store as looking
from rayllm.serving.prepare import interpreters
from rayllm.serving.weights import kept
from rayllm.serving.weights.sources import S3

WEIGHTS = random.Random(1).randbytes(14_000_000)  # noqa: S311 - no secret
OLD, NEW = (hashlib.sha256(content).hexdigest() for content in (WEIGHTS, WEIGHTS[::-1]))
"""Compared in place of the content: of that, a test that fails would print the difference, for hours."""
BLOCK = 4 << 20
SMALL = {"config.json": b"{}", "tokenizer.json": b'{"version": "1.0"}', "README.md": b"# A model"}
MODEL = {**SMALL, "model.safetensors": WEIGHTS, "pytorch_model.bin": b"0" * 1000}
TAKEN = ["SHA256SUMS", "config.json", "model.safetensors", "tokenizer.json"]
LLAMA = "s3://models/team/llama"
BOUND_S = 60.0
FETCHER = """
import sys
from pathlib import Path
from rayllm.serving.weights.sources import S3
print("at", S3.fetch(sys.argv[1], Path(sys.argv[2]), lambda detail: print(detail, flush=True)))
"""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Store]:
    """A store with one model; the node knows it by AWS_ENDPOINT_URL and has keys of its own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANODE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-node")
    with S3Store() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        made.put({f"team/llama/{name}": content for name, content in MODEL.items()})
        yield made


@pytest.fixture
def node(store: S3Store, tmp_path: Path) -> Node:
    """A node that has nothing yet."""
    return Node(tmp_path)


class Node:
    """Fetches, and keeps what was reported."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.cache = self.home / "models"
        self.told: list[str] = []

    def fetch(self, uri: str = LLAMA) -> Path:
        """The model."""
        return S3.fetch(uri, self.cache, self.told.append)

    def fails(self, uri: str = LLAMA, kind: type[RayllmError] = RayllmError) -> RayllmError:
        """The error that a person sees."""
        with pytest.raises(kind) as caught:
            self.fetch(uri)
        return caught.value

    def give(self, **secrets: str) -> None:
        """Lay secrets."""
        (self.home / "secrets").mkdir(parents=True, exist_ok=True)
        for name, value in secrets.items():
            (self.home / "secrets" / name).write_text(value)

    def start(self, uri: str = LLAMA) -> subprocess.Popen[str]:
        """A process that fetches."""
        argv = [sys.executable, "-c", FETCHER, uri, str(self.cache)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def part(self) -> int:
        """Bytes of files that are not whole yet."""
        return sum(path.stat().st_size for path in self.cache.rglob("*.part"))


def sum_of(folder: Path) -> str:
    """SHA-256 of a model's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def names(folder: Path) -> list[str]:
    """The files of a model."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_model_is_fetched_once(store: S3Store, node: Node) -> None:
    """In one format; asked for again, it is only looked whether it is still the same. Its sums are kept."""
    folder = node.fetch()
    assert names(folder) == TAKEN
    assert sum_of(folder) == OLD
    assert "14 of 14 MB" in node.told
    assert f"{hashlib.sha256(WEIGHTS).hexdigest()}  model.safetensors\n" in (folder / "SHA256SUMS").read_text()
    loaded = store.ranges()
    assert loaded == [0, 0, 0, BLOCK, 2 * BLOCK, 3 * BLOCK]
    assert node.fetch(f"{LLAMA}/") == folder
    assert store.ranges() == loaded


def test_only_what_changed_is_loaded(store: S3Store, node: Node) -> None:
    """And the model that was there stays as it was."""
    old = node.fetch()
    store.put({"team/llama/config.json": b'{"new": 1}'})
    new = node.fetch()
    assert ((new / "config.json").read_bytes(), (old / "config.json").read_bytes()) == (b'{"new": 1}', b"{}")
    assert store.ranges().count(BLOCK) == 1


def test_more_objects_than_a_page_has(store: S3Store, node: Node) -> None:
    """A listing has a thousand; names that would lead out of the folder are none of the model's."""
    store.put({f"team/llama/a/{number}.png": b"." for number in range(1005)})
    store.put(
        {"team/llama/../../escape.json": b"{}", "team/llama//escape.json": b"{}", "team/llama-2/config.json": b""}
    )
    assert names(node.fetch()) == TAKEN
    assert list(node.home.parent.rglob("escape.json")) == []
    assert sum("continuation-token" in asked for _, asked, _ in store.requests) == 1


def test_a_gguf_file(store: S3Store, node: Node) -> None:
    """The one that is named; without a name, the error offers them all."""
    store.put({"gguf/m-Q4.gguf": WEIGHTS[:1000], "gguf/m-Q8.gguf": WEIGHTS[:2000]})
    assert node.fetch("s3://models/gguf/m-Q4.gguf").read_bytes() == WEIGHTS[:1000]
    problem = node.fails("s3://models/gguf", InputError)
    assert problem.message == "s3://models/gguf holds GGUF files: name the one to serve"
    assert "source: s3://models/gguf/m-Q4.gguf   1.0 kB" in str(problem.cure)
    assert node.fails("s3://models/gguf/m-Q5.gguf", InputError).message == "s3://models/gguf has no file m-Q5.gguf"


def test_an_upload_in_parts_is_compared(store: S3Store, node: Node) -> None:
    """By the MD5 of its parts' MD5s, which is all that there is then."""
    store.put_in_parts("team/llama/model.safetensors", WEIGHTS)
    assert sum_of(node.fetch()) == OLD
    store.put_in_parts("team/llama/model.safetensors", WEIGHTS[::-1])
    store.faults.damaged = "model.safetensors"
    assert "model.safetensors: md5 of its parts " in str(node.fails("s3://models/team").cause)


@pytest.mark.parametrize("kind", ["SHA256", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_the_store(store: S3Store, node: Node, kind: str) -> None:
    """Where the object has one, it counts, whatever the ETag is."""
    store.put({"team/llama/model.safetensors": WEIGHTS[:100_000]}, ChecksumAlgorithm=kind)
    store.faults.damaged = "model.safetensors"
    assert f"model.safetensors: {kind.lower()} " in str(node.fails().cause)
    store.faults.damaged = ""
    assert names(node.fetch()) == TAKEN


def test_damaged_content(store: S3Store, node: Node) -> None:
    """Thrown away, with both sums; the next try begins anew."""
    store.faults.damaged = "model.safetensors"
    problem = node.fails()
    assert problem.message == f"a file of {LLAMA} came damaged"
    assert problem.topic == "weights-incomplete"
    assert not any(path.name == "model.safetensors" for path in node.cache.rglob("*"))
    store.faults.damaged = ""
    assert sum_of(node.fetch()) == OLD


def test_a_list_of_sums_beside_the_files(store: S3Store, node: Node) -> None:
    """What it says counts, too: the object may have been damaged before it was laid there."""
    right, wrong = (f"{hashlib.sha256(content).hexdigest()} *./model.safetensors\n" for content in (WEIGHTS, b""))
    store.put({"team/llama/SHA256SUMS": wrong.encode()})
    assert f"sha256 {hashlib.sha256(WEIGHTS).hexdigest()}, the store says" in str(node.fails().cause)
    store.put({"team/llama/SHA256SUMS": right.encode()})
    assert names(node.fetch()) == TAKEN


def test_short_answers_are_asked_for_again(store: S3Store, node: Node) -> None:
    """By itself, from where they ended."""
    store.faults.short = 2
    assert sum_of(node.fetch()) == OLD
    assert any("bytes came where" in detail for detail in node.told)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_a_store_that_is_busy(store: S3Store, node: Node, status: int, code: str) -> None:
    """Is asked again."""
    store.faults.codes = [(status, code)] * 4
    assert names(node.fetch()) == TAKEN
    assert any(detail.startswith("the store can't be read, trying again") for detail in node.told)


def test_killed_half_way_and_taken_up(store: S3Store, node: Node) -> None:
    """The script ends with whoever asked for it; the next process loads the rest."""
    store.faults.gate, store.faults.gate_at = threading.Event(), 2 * BLOCK
    process = node.start()
    until("half is there", lambda: node.part() >= 2 * BLOCK, BOUND_S)
    process.kill()
    process.communicate()
    until("the script is gone", lambda: not scripts(), BOUND_S)
    store.faults.gate.set()
    before = len(store.requests)
    assert sum_of(node.fetch()) == OLD
    later = [asked for _, path, asked in store.requests[before:] if "model.safetensors" in path and asked]
    assert [asked.partition("=")[2].partition("-")[0] for asked in sorted(later)] == [str(3 * BLOCK), str(2 * BLOCK)]


def test_replaced_before_it_is_taken_up(store: S3Store, node: Node) -> None:
    """What had come of another content is thrown away."""
    store.faults.gate, store.faults.gate_at = threading.Event(), 2 * BLOCK
    process = node.start()
    until("half is there", lambda: node.part() >= 2 * BLOCK, BOUND_S)
    process.kill()
    process.communicate()
    until("the script is gone", lambda: not scripts(), BOUND_S)
    store.faults.gate.set()
    store.put({"team/llama/model.safetensors": WEIGHTS[::-1]})
    assert sum_of(node.fetch()) == NEW
    assert node.part() == 0


def test_replaced_while_it_comes(store: S3Store, node: Node) -> None:
    """Noticed, though a part of each came; begun anew with what is there now."""
    store.faults.before_head = lambda: store.put({"team/llama/model.safetensors": WEIGHTS[::-1]})
    assert sum_of(node.fetch()) == NEW
    assert f"{LLAMA} was changed while it was fetched: beginning with what is there now" in node.told


def test_several_at_once_load_once(store: S3Store, node: Node) -> None:
    """One loads and says how far it is, the others wait; the keys are in nobody's arguments or environment."""
    node.give(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    store.faults.gate, store.faults.gate_at = threading.Event(), 2 * BLOCK
    processes = [node.start() for _ in range(3)]
    until("half is there", lambda: node.part() >= 2 * BLOCK, BOUND_S)
    for pid in [*scripts(), *(process.pid for process in processes)]:
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    store.faults.gate.set()
    said = [process.communicate(timeout=BOUND_S)[0] for process in processes]
    assert sum("waiting for another process that fetches models/team/llama" in text for text in said) == 2
    assert store.ranges().count(BLOCK) == 1
    assert SECRET not in "".join(said)


def test_secrets_go_before_what_the_node_has(store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the address; and a session token of the node's is not sent with a key of the file's."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-node")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    node.give(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_ENDPOINT_URL=store.url)
    assert names(node.fetch()) == TAKEN


def test_without_credentials(store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is public is read all the same; else the error says how to give some."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    store.put({f"team/llama/{name}": content for name, content in MODEL.items()}, ACL="public-read")
    assert names(node.fetch()) == TAKEN
    store.faults.private = True
    problem = node.fails("s3://models/other")
    assert problem.message.endswith("has no credentials for s3://models/other, and it is not public")
    assert "secrets: {AWS_ACCESS_KEY_ID: {env: AWS_ACCESS_KEY_ID}, AWS_SECRET_ACCESS_KEY: " in str(problem.cure)
    assert f"{node.home}/secrets/AWS_ACCESS_KEY_ID, mode 0600" in str(problem.cure)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "AccessDenied"), ("may not read", "s3:ListBucket on the bucket and s3:GetObject")),
        ((403, "InvalidAccessKeyId"), ("does not accept the credentials", "renew them")),
        ((403, "SignatureDoesNotMatch"), ("does not accept the credentials", "renew them")),
        ((403, "RequestTimeTooSkewed"), ("its clock is wrong", "set the clock of the node")),
        ((400, "AuthorizationHeaderMalformed"), ("is in another region", "AWS_DEFAULT_REGION")),
    ],
)
def test_refusals(store: S3Store, node: Node, answer: tuple[int, str], words: tuple[str, str]) -> None:
    """Each has its own words, with the store's as the cause; secrets are not in them."""
    node.give(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    store.faults.codes = [answer] * 8
    problem = node.fails()
    assert words[0] in problem.message
    assert words[1] in str(problem.cure)
    assert answer[1] in str(problem.cause)
    assert SECRET not in f"{problem} {problem.cause} {node.told}"


def test_what_is_not_there(store: S3Store, node: Node) -> None:
    """A folder with the nearest one, a bucket with the store's address."""
    problem = node.fails("s3://models/team/lama", InputError)
    assert problem.message == "nothing is at s3://models/team/lama"
    assert problem.cure == "did you mean s3://models/team/llama? beside it are team/llama"
    problem = node.fails("s3://modles/team/llama", InputError)
    assert problem.message == "the store has no bucket modles"
    assert store.url in str(problem.cure)


def test_a_store_out_of_reach(store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with the address; what was fetched earlier is used, and a note says so."""
    folder = node.fetch()
    monkeypatch.setattr(kept, "FIRST_PATIENCE_S", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert node.fetch() == folder
    assert f"{LLAMA} as fetched earlier, commit " in node.told[-1]
    problem = node.fails("s3://models/other")
    assert problem.message.startswith("the store can't be reached for s3://models/other from node ")
    assert "check the way to http://127.0.0.1:9: network, proxy" in str(problem.cure)


def test_a_store_that_breaks_off(store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with how much is missing; the next try goes on from there."""
    monkeypatch.setattr(kept, "PATIENCE_S", 0.0)
    store.faults.short = 1000
    problem = node.fails()
    assert problem.message.startswith(f"the store broke off in the middle of {LLAMA}: ")
    store.faults.short = 0
    assert names(node.fetch()) == TAKEN


def test_looked_at_from_the_operators_side(
    store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the keys of the file; a refusal has the store's words without them; once fetched, nobody is asked."""
    assert S3.look
    monkeypatch.setattr(looking, "WAIT_S", BOUND_S)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    store.faults.private = True
    with pytest.raises(RayllmError, match=r"^this machine has no credentials for s3://models/team/llama"):
        S3.look(LLAMA, node.cache, {}).__enter__()
    with S3.look(LLAMA, node.cache, secrets) as files:
        assert files.read("model.safetensors", BLOCK, 20) == WEIGHTS[BLOCK : BLOCK + 20]
        (script,) = scripts()
        assert SECRET.encode() not in Path(f"/proc/{script}/environ").read_bytes()
        store.faults.codes = [(403, "SignatureDoesNotMatch")]
        with pytest.raises(RayllmError, match="does not accept the credentials") as caught:
            files.read("model.safetensors", 0, 20)
        assert files.read("config.json", 0, 100) == b"{}"
    assert "SignatureDoesNotMatch" in str(caught.value.cause)
    assert SECRET not in f"{caught.value}{capfd.readouterr()}"
    assert not scripts()
    assert store.ranges() == [0, 0, BLOCK]
    node.give(**secrets)
    node.fetch()
    asked = len(store.requests)
    with S3.look(LLAMA, node.cache, {}) as files:
        assert files.sizes["model.safetensors"] == len(WEIGHTS)
    assert len(store.requests) == asked


def test_a_look_takes_no_longer_than_it_may(store: S3Store, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on after it."""
    assert S3.look
    monkeypatch.setattr(looking, "WAIT_S", 0.0)
    with pytest.raises(RayllmError, match="the store did not show s3://models/team/llama within 0 s"):
        S3.look(LLAMA, node.cache, {}).__enter__()
    assert not scripts()
    monkeypatch.setattr(interpreters, "satisfied_here", lambda _: False)
    with pytest.raises(RayllmError, match=r"^install rayllm-core\[s3\] here to have plan look at s3://models/team"):
        S3.look(LLAMA, node.cache, {}).__enter__()


def scripts() -> list[int]:
    """Processes that run the script of this test's home."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            argv, environ = ((folder / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"stores.script" in argv and f"HOME={os.environ['HOME']}\0".encode() in environ:
            found.append(int(folder.name))
    return found
