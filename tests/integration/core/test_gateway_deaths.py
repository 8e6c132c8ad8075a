"""kill -9 of HAProxy, of its keeper and of its gateway: who serves on, who comes back, what is left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port

from rayllm.serving.accounting import Accounting
from rayllm.serving.haproxy import counters, keeping
from rayllm.serving.haproxy.keeping import Inherited, Keeping
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, KeyRule, ModelRoute
from rayllm.serving.run_dir import RunDir

CHAT = "/v1/chat/completions"
BACK_S = 5.0
"""Five times what it may take."""


class Life:
    """A gateway's actor as far as HAProxy goes: it can be killed, and have a successor."""

    def __init__(self, gateway: Any, port: int = 0) -> None:
        self.gateway = gateway
        self.port = port or gateway.port
        self.run_dir = RunDir(gateway.deployment, "127.0.0.1", self.port)
        log = gateway.log
        self.haproxy = HAProxy(log, log.with_name("access.log"), self.run_dir.keeping)

    def view(self, *routes: ModelRoute) -> GatewayView:
        """What to serve."""
        view: GatewayView = self.gateway.view(*routes)
        return replace(view, run_dir=self.run_dir.path, port=self.port)

    def killed(self) -> None:
        """End without a word: the kernel closes what the process had open."""
        self.run_dir._lock.close()
        if keeping := self.haproxy._keeping:
            keeping._line.close()
        if claim := self.haproxy._claim:
            claim.release()


@pytest.fixture
def lives(gateway: Any) -> Iterator[Any]:
    """Make gateways; what they leave behind is removed."""
    made: list[Life] = []

    def live(port: int = 0) -> Life:
        made.append(Life(gateway, port))
        return made[-1]

    yield live
    for each in made:
        each.killed()
    for pid in gateway.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def seconds_until(gateway: Any, status: int = 200) -> float:
    """How long it takes until model `a` answers."""
    start = time.monotonic()

    def answers() -> bool:
        try:
            return bool(gateway.ask("POST", CHAT, {"model": "a"})[0] == status)
        except OSError:
            return False

    gateway.until(answers)
    return time.monotonic() - start


@pytest.mark.parametrize("owned", [True, False], ids=["with-gateway", "without"])
@pytest.mark.parametrize("which", ["master", "worker"])
def test_a_killed_haproxy_is_back_at_once(gateway: Any, upstream: Any, lives: Any, which: str, owned: bool) -> None:
    """Also while its gateway is dead; nothing of it is left, and a gateway that lives hears of it."""
    life = lives()
    life.haproxy.start(life.view(ModelRoute("a", "k", (upstream("a1").route,))))
    if not owned:
        life.killed()
    for _ in range(2):
        before = gateway.haproxies()
        os.kill(before[which], signal.SIGKILL)
        gateway.until(lambda before=before: gateway.haproxies().get("master") not in {before["master"], None})
        assert seconds_until(gateway) < BACK_S
        dead = {before["master"], before["worker"]}
        gateway.until(lambda dead=dead: not dead & set(gateway.processes()))
        assert gateway.haproxies()["keeper"] == before["keeper"]
        if owned:
            assert life.haproxy.wait(BACK_S)[0].startswith("haproxy.cfg ")
            assert life.haproxy.alive()


def test_without_its_keeper_nothing_is_left(gateway: Any, upstream: Any) -> None:
    """HAProxy dies with it, and the gateway starts both again."""
    view = gateway.view(ModelRoute("a", "k", (upstream("a1").route,)))
    gateway.haproxy.start(view)
    before = gateway.haproxies()
    os.kill(before["keeper"], signal.SIGKILL)
    gateway.until(lambda: not gateway.processes())
    assert not gateway.haproxy.alive()
    gateway.haproxy.apply(view)
    assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 200


@pytest.fixture
def accounting(gateway: Any, tmp_path: Path) -> Iterator[Accounting]:
    """The gateway's accounts, which its HAProxy asks."""
    made = Accounting(gateway.access, tmp_path / "records.sqlite", gateway.run_dir)
    gateway.haproxy = HAProxy(gateway.log, gateway.access, remembered=made.recent_requests)
    made._count(())
    yield made
    made.close()


def asked(gateway: Any, times: int) -> list[int]:
    """The answers to so many requests with the key `secret`, which are in the log when it returns."""
    before = gateway.access.read_text().count("\n")
    found = [gateway.ask("POST", CHAT, {"model": "a"}, x_api_key="secret")[0] for _ in range(times)]
    gateway.until(lambda: gateway.access.read_text().count("\n") == before + times)
    return found


def kept_alive(haproxy: HAProxy, view: GatewayView) -> bool:
    """What the gateway's actor does again and again; whether there was a death."""
    if haproxy.wait(0.1):
        return True
    if haproxy.alive():
        return False
    haproxy.start(view)
    return True


@pytest.mark.usefixtures("accounting")
@pytest.mark.parametrize("which", ["worker", "master", "keeper"])
def test_a_killed_haproxy_forgets_no_request(gateway: Any, upstream: Any, which: str) -> None:
    """Of a key's requests per minute as many are left as before, whoever was killed, and how often."""
    keys = (KeyRule("team", (hashlib.sha256(b"secret").hexdigest().upper(),), requests_per_minute=6),)
    view = replace(gateway.view(ModelRoute("a", "k", (upstream("a1").route,))), keys=keys)
    gateway.until(lambda: time.time() % 60 < 50)  # what is counted shall not be cut by the minute's end
    gateway.haproxy.start(view)
    assert asked(gateway, 4) == [200] * 4
    for wanted in ([200, 200, 429], [429]):
        os.kill(gateway.haproxies()[which], signal.SIGKILL)
        gateway.until(lambda: kept_alive(gateway.haproxy, view))
        assert asked(gateway, len(wanted)) == wanted


@pytest.mark.usefixtures("accounting")
def test_the_death_of_the_other_haproxy_counts_nothing_twice(gateway: Any, upstream: Any) -> None:
    """The one for large bodies counts nothing, and so has lost nothing."""
    keys = (KeyRule("team", (hashlib.sha256(b"secret").hexdigest().upper(),), requests_per_minute=100),)
    gateway.haproxy.start(replace(gateway.view(ModelRoute("a", "k", (upstream("a1").route,))), keys=keys))
    assert asked(gateway, 4) == [200] * 4
    os.kill(gateway.haproxies("large.cfg")["worker"], signal.SIGKILL)
    deaths: list[str] = []

    def heard() -> bool:
        deaths.extend(gateway.haproxy.wait(0.1))
        return bool(deaths)

    gateway.until(heard)
    assert deaths[0].startswith("large.cfg ")
    assert sum(counters.counted(gateway.haproxy._keeping.run_dir).values()) == 4


def test_a_killed_gateway_cuts_nothing(gateway: Any, upstream: Any, lives: Any) -> None:
    """HAProxy serves on; the next gateway adopts it, with streams in flight, and changes what it serves."""
    a, b = upstream("a1"), upstream("b1")
    first = lives()
    first.haproxy.start(first.view(ModelRoute("a", "k", (a.route,))))
    before = gateway.haproxies()
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream:
        assert stream.read1(100) == b"data: one\n\n"
        first.killed()
        assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 200
        second = lives()
        assert second.haproxy.adopted
        second.haproxy.apply(second.view(ModelRoute("a", "k", (a.route,)), ModelRoute("b", "k", (b.route,))))
        assert gateway.ask("POST", CHAT, {"model": "b"})[1]["by"] == "b1"
        a.gate.set()
        assert stream.read() == b"data: two\n\n"
    after = gateway.haproxies()
    assert (after["keeper"], after["master"]) == (before["keeper"], before["master"])
    assert second.run_dir.path == first.run_dir.path
    second.haproxy.stop()
    assert not gateway.processes()


def test_a_gateway_that_lives_keeps_its_haproxy(gateway: Any, lives: Any) -> None:
    """Its successor, as in an update, starts another beside it."""
    first, second = lives(), lives()
    first.haproxy.start(first.view())
    third = lives()
    assert first.run_dir.path != third.run_dir.path
    assert not third.haproxy.adopted
    assert not second.haproxy.adopted


def test_another_address_is_another_haproxy(gateway: Any, upstream: Any, lives: Any) -> None:
    """What a killed gateway left at the old one takes no more connections, and ends with its last connection."""
    a = upstream("a1")
    first = lives()
    first.haproxy.start(first.view(ModelRoute("a", "k", (a.route,))))
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream:
        assert stream.read1(100) == b"data: one\n\n"
        first.killed()
        second = lives(free_port())
        assert not second.haproxy.adopted
        second.haproxy.start(second.view())
        gateway.until(lambda: _refused(gateway))
        a.gate.set()
        assert stream.read() == b"data: two\n\n"
    second.haproxy.stop()
    for connection in gateway.connections:
        connection.close()
    gateway.until(lambda: not gateway.processes())


@pytest.mark.parametrize("reason", ["owner", "node"])
def test_nothing_is_kept_for_nobody(
    gateway: Any, lives: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str
) -> None:
    """Without a gateway for too long, or without Ray, all ends; the folder with the internal keys goes too."""
    monkeypatch.setattr(keeping, "OWNERLESS_S", 0.5 if reason == "owner" else 60)
    life = lives()
    with subprocess.Popen(["sleep", "60"]) as node:
        life.haproxy._node = node.pid
        life.haproxy.start(life.view())
        life.killed()
        if reason == "node":
            node.kill()
        gateway.until(lambda: not gateway.processes())
        assert not life.run_dir.path.exists()
        node.kill()


def test_what_dies_again_and_again_is_given_time(tmp_path: Path) -> None:
    """Each death is told; from the third short life on there is a pause."""
    log = tmp_path / "log"
    with log.open("ab") as err, (tmp_path / "claim").open("w") as claim:
        kept = Keeping.start(
            tmp_path,
            "/bin/false",
            ["haproxy.cfg"],
            "127.0.0.1",
            1,
            deployment="demo",
            predecessor=None,
            node=0,
            inherited=Inherited(err, err, claim),
        )
    deaths: list[str] = []
    while len(deaths) < 4:
        assert not kept.wait(BACK_S)
        deaths += kept.deaths()
    kept.stop()
    assert set(deaths) == {"haproxy.cfg 1"}
    assert [line.partition("starting it ")[2] for line in log.read_text().splitlines()][:4] == [
        "again",
        "again",
        "again in 0.25 s",
        "again in 0.5 s",
    ]


def _refused(gateway: Any) -> bool:
    try:
        gateway.ask("GET", "/health")
    except ConnectionRefusedError:
        return True
    return False
