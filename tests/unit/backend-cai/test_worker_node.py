"""A worker's supervisor without Ray: what it says of itself while heads come, move and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.conftest import free_port, until

from rayllm_backend_cai.node import node, worker
from rayllm_backend_cai.node.door import HealthDoor
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.ray_process import RayProcess
from rayllm_backend_cai.node.records import Claim, Own, Watched
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.node.worker import Worker
from rayllm_backend_cai.shared import Group, HeadRecord, KeeperRecord, Leaving, NodeRecord, Shape, Wanted, keeper_file


@dataclass
class StubRay:
    """A Ray that joins at once and ends when it is told."""

    starts: list[str] = field(default_factory=list)
    ended: int | None = None
    joined: bool = True
    kept: int = 0

    def start(self, argv: Sequence[str], *_: object) -> None:
        """Note where it joins."""
        self.ended = None
        self.starts.append(next(word.partition("=")[2] for word in argv if word.startswith("--address")))

    def status(self) -> int | None:
        """How it ended."""
        return self.ended

    def stop(self, grace_s: float) -> None:
        """Nothing runs."""

    def last_words(self) -> str:
        """What it said."""
        return "the end"

    def keep_logs(self) -> None:
        """Count."""
        self.kept += 1


@dataclass
class Running:
    """A worker in a thread."""

    pod: Pod
    ray: StubRay
    stopping: Stopping
    own: Own

    def head(self, address: str, state: str = "ready", since: float = 1) -> None:
        """Let there be a head, which is so since then: it told its address at 0."""
        HeadRecord(epoch=address + state, address=address, gcs_port=6379, serve_port=1, since=0).write(self.pod.head)
        said = NodeRecord.model_validate({"state": state, "since": since})
        said.write(self.pod.record.with_name("demo.json"))

    def says(self, state: str, reason: str = "") -> None:
        """Wait until it says so on the disk."""
        until(f"{state} {reason}", lambda: (kept := self.told()).state == state and reason in kept.reason, 10)

    def told(self) -> NodeRecord:
        """What an operator reads of it."""
        return NodeRecord.read(self.pod.record) or NodeRecord(state="starting", since=0)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A worker of a cluster that has no head yet."""
    for module, name in ((node, "POLL_S"), (node, "LOOK_S"), (worker, "LOOK_S"), (worker, "POLL_S")):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr(Pod, "local", property(lambda self: tmp_path / f"rl-{self.engine}"))
    pod = make_pod(tmp_path, "e1")
    shape = {"cpus": 1.0, "memory": 4.0, "runtime": "image"}
    wanted = Wanted(
        name="demo",
        subdomain="demo",
        code="c",
        serving="s",
        head=Shape.model_validate(shape),
        groups={"w": Group.model_validate({**shape, "min": 1, "max": 1})},
    )
    wanted.write(pod.wanted[0])
    pod.token.write_text("t")
    stopping, own = Stopping(), Own(pod)
    made = Running(pod, StubRay(), stopping, own)
    supervisor = Worker(pod, {}, stopping, own)
    monkeypatch.setattr(supervisor, "ray", made.ray)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    yield made
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def make_pod(home: Path, engine: str) -> Pod:
    """A pod of the worker."""
    pod = Pod(
        task="worker",
        cluster="demo",
        node="demo-w-1",
        group="w",
        home=home,
        engine=engine,
        address="127.0.0.1",
        ports=(),
    )
    pod.make_local()
    return pod


def test_it_waits_joins_and_follows(running: Running) -> None:
    """A head is joined once it can be, and elsewhere if it is there; one that is new in its place is not."""
    running.says("waiting", "head is not ready")
    running.head("10.0.0.1", state="starting")
    time.sleep(0.1)
    assert running.ray.starts == []
    running.head("10.0.0.1", state="starting", since=-1)
    running.says("ready", "10.0.0.1:6379")
    running.head("10.0.0.1", state="starting")
    running.head("10.0.0.1")
    running.pod.head.write_text("{half")
    time.sleep(0.2)
    assert running.ray.starts == ["10.0.0.1:6379"]
    running.head("10.0.0.2")
    running.says("ready", "10.0.0.2:6379")
    assert running.ray.starts == ["10.0.0.1:6379", "10.0.0.2:6379"]
    running.stopping.set()
    running.says("leaving")


def test_it_joins_again_when_its_ray_ends(running: Running) -> None:
    """After a pause; without a head it waits for one."""
    running.head("10.0.0.1")
    running.says("ready")
    running.ray.ended = 1
    until("it joined again", lambda: len(running.ray.starts) == 2, 10)
    running.says("ready")
    assert running.ray.kept == 1
    running.head("10.0.0.1", state="leaving")
    running.ray.ended = 1
    running.says("waiting", "head is not ready")


def test_it_does_not_come_back_when_it_is_to_go(running: Running) -> None:
    """Its raylet ends when its work is done; a new one would be given work until the application is stopped."""
    running.head("10.0.0.1")
    running.says("ready")
    going = Leaving(name="demo-w-1", reason="0 of w are wanted", since=0, until=0)
    KeeperRecord(leaving={"id": going}).write(keeper_file(running.pod.folder))
    running.ray.ended = 0
    running.says("leaving", "0 of w are wanted")
    time.sleep(0.1)
    assert len(running.ray.starts) == 1
    KeeperRecord().write(keeper_file(running.pod.folder))
    running.says("ready")


def test_a_head_that_does_not_take_it_in(running: Running) -> None:
    """It says with which words, and tries a head at another place at once."""
    running.ray.joined = False
    running.head("10.0.0.1")
    until("it tries", lambda: running.ray.starts, 10)
    running.ray.ended = 1
    running.says("starting", "the end")
    until("it tries again", lambda: len(running.ray.starts) == 2, 10)
    running.ray.ended = 1
    running.says("failed", "the end")
    running.head("10.0.0.2")
    running.ray.joined = True
    running.says("ready", "10.0.0.2")


def test_a_later_start_has_the_node(running: Running, tmp_path: Path) -> None:
    """The earlier one ends its Ray and says nothing more."""
    running.head("10.0.0.1")
    running.says("ready")
    later = make_pod(tmp_path, "e2")
    Claim(later).make()
    Own(later).note("waiting", "later")
    time.sleep(0.2)
    running.head("10.0.0.2")
    time.sleep(0.2)
    assert running.ray.starts == ["10.0.0.1:6379"]
    kept = NodeRecord.read(later.record)
    assert kept
    assert (kept.engine, kept.reason) == ("e2", "later")
    assert not Claim(later).is_lost()
    Claim(running.pod).make()  # its supervisor was started again: the node stays the later one's
    assert not Claim(later).is_lost()


def test_health_tells_the_record(running: Running) -> None:
    """To the platform, from the first second on."""
    port = free_port()
    with HealthDoor(port, lambda: running.own.record):
        running.says("waiting")
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
        assert (answer.status_code, answer.json()["state"]) == (200, "waiting")
        assert httpx.get(f"http://127.0.0.1:{port}/other").status_code == 404


def test_a_disk_that_hangs(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network disk does: what runs goes on, the platform gets its answers, and news are followed afterwards."""
    running.head("10.0.0.1")
    running.says("ready")
    read, hung, gate = HeadRecord.model_validate_json, threading.Event(), threading.Event()

    def slowly(content: bytes) -> HeadRecord:
        hung.set()
        gate.wait(30)
        return read(content)

    monkeypatch.setattr(HeadRecord, "model_validate_json", slowly)
    port = free_port()
    try:
        with HealthDoor(port, lambda: running.own.record):
            running.head("10.0.0.2")
            assert hung.wait(10)
            answer = httpx.get(f"http://127.0.0.1:{port}/health")
        assert (answer.status_code, answer.json()["state"]) == (200, "ready")
        assert running.ray.starts == ["10.0.0.1:6379"]
    finally:
        gate.set()
    until("it has followed", lambda: running.ray.starts == ["10.0.0.1:6379", "10.0.0.2:6379"], 10)


def test_a_record_that_can_not_be_read_just_now(tmp_path: Path) -> None:
    """What was read last counts, also where the file is just being replaced."""
    path = tmp_path / "head.json"
    watched = Watched(HeadRecord, path)
    assert watched.look() is None
    HeadRecord(epoch="e", address="a", gcs_port=1, serve_port=2, since=0).write(path)
    before = watched.look()
    assert before
    path.write_text("{half")
    assert watched.look() == before
    path.unlink()
    path.mkdir()
    assert watched.look() == before
    path.rmdir()
    assert watched.look() == before
    after = before.model_copy(update={"epoch": "f"})
    after.write(path)
    assert watched.look() == after


def test_logs_are_kept_when_ray_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ends, where an operator can read them; and the last words are those that tell."""
    monkeypatch.setattr(Pod, "local", property(lambda _: tmp_path / "rl"))
    pod = make_pod(tmp_path / "home", "e1")
    logs = pod.ray / "session_latest/logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_bytes(b"x" * 400_000 + b"last")
    (logs / "raylet.err").write_text("")
    (logs / "worker-1.out").write_text("a model's")
    (pod.local / "ray.log").write_text(
        "Traceback (most recent call last):\n  File\n[2026-11-30 03:59:48,447 I 24 24] (raylet) quiet\n"
        "[2026-11-30 03:59:48,447 E 24 24] (raylet) Failed to connect\n2026-11-30 03:59:49,050\tERR scripts.py -- end\n"
    )
    ray = RayProcess(pod)
    ray.keep_logs()
    assert sorted(path.name for path in pod.logs.iterdir()) == ["ray.log", "raylet.out"]
    kept = (pod.logs / "raylet.out").read_bytes()
    assert kept.startswith(b"# kept ")
    assert kept.endswith(b"last")
    assert len(kept) < 300_000
    assert [line.rpartition(" ")[2] for line in ray.last_words().splitlines()] == ["connect", "end"]
