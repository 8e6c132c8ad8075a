"""The head's supervisor without Ray: its records, and that there is one head at a time."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import free_port, until

from rayllm_backend_cai.node import head, node, worker
from rayllm_backend_cai.node.head import Head
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.node.records import Own
from rayllm_backend_cai.node.stopping import Stopping
from rayllm_backend_cai.shared import HeadRecord, NodeRecord, Shape, Wanted


class NoDoor:
    """Nobody listens."""

    def __init__(self, *_: object) -> None:
        """Take what a door takes."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


@dataclass
class StubRay:
    """A Ray that answers at once and ends when it is told."""

    starts: int = 0
    runs: bool = False
    env: dict[str, str] = field(default_factory=dict)
    ended: int | None = None
    joined: bool = True

    def start(self, _: list[str], env: dict[str, str], *__: object) -> None:
        """Note that it runs."""
        self.starts, self.runs, self.ended, self.env = self.starts + 1, True, None, env

    def status(self) -> int | None:
        """How it ended."""
        return self.ended

    def stop(self, *_: object) -> None:
        """Note that it does not."""
        self.runs = False

    def last_words(self) -> str:
        """What it said."""
        return "the end"

    def keep_logs(self) -> None:
        """There are none."""


@dataclass
class Started:
    """A head in a thread."""

    pod: Pod
    ray: StubRay
    stopping: Stopping
    thread: threading.Thread

    def at(self) -> HeadRecord | None:
        """Where it says that the head is, if it is this one."""
        told = HeadRecord.read(self.pod.head)
        return told if told and told.address == self.pod.address else None

    def told(self) -> tuple[str, str]:
        """What it says of itself: the pod, and the state."""
        kept = NodeRecord.read(self.pod.record)
        return (kept.engine, kept.state) if kept else ("", "")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Started]]:
    """Starts heads of one cluster: `start(engine, address)`."""
    for module, name in ((node, "POLL_S"), (node, "LOOK_S"), (head, "LOOK_S"), (head, "POLL_S"), (worker, "LOOK_S")):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setenv("RAYLLM_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(Pod, "local", property(lambda self: tmp_path / f"rl-{self.engine}"))
    monkeypatch.setattr(head, "Door", NoDoor)
    monkeypatch.setattr("rayllm.serving.ray_dashboard.alive_nodes", lambda *_: ["demo"])
    shape = Shape(cpus=1, memory=4, runtime="image")
    Wanted(name="demo", subdomain="demo", code="c", serving="s", head=shape).write(
        tmp_path / "clusters/demo/wanted.json"
    )
    started: list[Started] = []

    def run(engine: str, address: str) -> Started:
        pod = Pod(
            task="head",
            cluster="demo",
            node="demo",
            group="",
            home=tmp_path,
            engine=engine,
            address=address,
            ports=(free_port(),),
        )
        pod.make_local()
        supervisor = Head(pod, {"CDSW_APIV2_KEY": "k"}, Stopping(), Own(pod))
        ray = StubRay()
        monkeypatch.setattr(supervisor, "ray", ray)
        thread = threading.Thread(target=supervisor.run)
        started.append(Started(pod, ray, supervisor.stopping, thread))
        thread.start()
        return started[-1]

    yield run
    for one in started:
        one.stopping.set()
        one.thread.join(10)
        assert not one.thread.is_alive()
        assert "CDSW_APIV2_KEY" not in one.ray.env


def test_it_tells_where_it_is(start: Callable[[str, str], Started]) -> None:
    """Once Ray answers; the same place, but for the epoch, when Ray is started again there."""
    one = start("e1", "127.0.0.1")
    until("it is ready", lambda: one.told() == ("e1", "ready"), 10)
    before = one.at()
    assert before
    assert stat.S_IMODE(one.pod.token.stat().st_mode) == 0o600
    assert one.ray.env["RAYLLM_GATEWAY_LISTEN"] == f"127.0.0.1:{one.pod.ports[0]}"
    one.ray.ended = 1
    until("it is there again", lambda: (now := one.at()) and now.epoch != before.epoch, 10)
    after = one.at()
    assert after
    assert after.model_copy(update={"epoch": before.epoch, "since": before.since}) == before
    assert one.ray.starts == 2


def test_the_last_start_is_the_head(start: Callable[[str, str], Started]) -> None:
    """It waits until the earlier one, which sees that, has let Ray's records go; the earlier one comes back never."""
    first = start("e1", "127.0.0.1")
    until("it is ready", lambda: first.told() == ("e1", "ready"), 10)
    token, port = first.pod.token.read_text(), first.at()
    assert port
    second = start("e2", "127.0.0.2")
    until("the second is ready", lambda: second.told() == ("e2", "ready"), 10)
    assert (first.ray.runs, second.ray.runs) == (False, True)
    told = second.at()
    assert told
    assert told.serve_port == port.serve_port
    assert second.pod.token.read_text() == token
    second.stopping.set()
    second.thread.join(10)
    assert second.told() == ("e2", "leaving")
    assert first.thread.is_alive()
    assert first.ray.starts == 1
