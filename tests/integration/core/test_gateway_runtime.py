"""Changes at a HAProxy that runs: what needs no reload, what does, and that neither costs a request."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from rayllm.serving.haproxy.sockets import ask
from rayllm.serving.haproxy.view import ModelRoute

CHAT = "/v1/chat/completions"


def servers(gateway: Any) -> set[str]:
    """Names of the servers that HAProxy has for model `a`."""
    lines = ask(gateway.run_dir, "haproxy.sock", "show servers state model:a").splitlines()
    return {fields[3] for line in lines if len(fields := line.split()) > 5 and fields[1] == "model:a"} - {"serve-proxy"}


def answerers(gateway: Any, count: int = 8) -> set[str]:
    """Which replicas answer."""
    return {gateway.ask("POST", CHAT, {"model": "a"})[1]["by"] for _ in range(count)}


def test_replicas_change_in_the_worker_that_runs(gateway: Any, upstream: Any) -> None:
    """A new one gets requests; one that left finishes its stream, gets nothing more, and is forgotten when it ends."""
    one, two = upstream("a1"), upstream("a2")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (one.route,))))
    before = gateway.haproxies()
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream:
        assert stream.read1(100) == b"data: one\n\n"
        gateway.haproxy.apply(gateway.view(ModelRoute("a", "k", (one.route, two.route))))
        assert "a2" in answerers(gateway)
        gateway.haproxy.apply(gateway.view(ModelRoute("a", "k", (two.route,))))
        assert answerers(gateway) == {"a2"}
        assert gateway.haproxy.alive()
        assert servers(gateway) == {"a1", "a2"}
        one.gate.set()
        assert stream.read() == b"data: two\n\n"
    one.kill()
    gateway.until(lambda: gateway.haproxy.alive() and servers(gateway) == {"a2"})
    assert gateway.haproxies() == before


def test_a_new_replica_is_watched(gateway: Any, upstream: Any) -> None:
    """One that was added while HAProxy ran is left out when it refuses connections, like any other."""
    one, two = upstream("a1"), upstream("a2")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (one.route,))))
    gateway.haproxy.apply(gateway.view(ModelRoute("a", "k", (one.route, two.route))))
    two.kill()
    assert [gateway.ask("POST", CHAT, {"model": "a"})[0] for _ in range(6)] == [200] * 6
    state = ask(gateway.run_dir, "haproxy.sock", "show servers state model:a")
    assert [line.split()[5] for line in state.splitlines() if " a2 " in line] == ["0"]


def test_one_that_comes_back_before_it_is_forgotten(gateway: Any, upstream: Any) -> None:
    """HAProxy objects to the name, and is reloaded."""
    one, two = upstream("a1"), upstream("a2")
    both = gateway.view(ModelRoute("a", "k", (one.route, two.route)))
    gateway.haproxy.start(both)
    gateway.haproxy.apply(gateway.view(ModelRoute("a", "k", (two.route,))))
    gateway.haproxy.apply(both)
    assert answerers(gateway) == {"a1", "a2"}


def test_a_restart_knows_what_was_told(gateway: Any, upstream: Any) -> None:
    """Every change also stands in the files."""
    one, two = upstream("a1"), upstream("a2")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (one.route,))))
    changed = gateway.view(ModelRoute("a", "k", (two.route,)))
    gateway.haproxy.apply(changed)
    gateway.haproxy.start(changed)
    assert answerers(gateway) == {"a2"}


@pytest.mark.parametrize("kept", [False, True], ids=["new-connections", "kept-connections"])
def test_churn_costs_no_request(gateway: Any, upstream: Any, kept: bool) -> None:
    """Replicas come, go and refuse, models come and go, beside JSON and streaming clients: all are served."""
    slow, stays, comes = upstream("slow"), upstream("a1"), [upstream(f"a{n}") for n in range(2, 6)]
    for each in (stays, *comes):
        each.gate.set()
    comes[-1].kill()
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (stays.route,)), ModelRoute("slow", "k", (slow.route,))))
    over, said = threading.Event(), list[str]()
    with gateway.open("POST", CHAT, {"model": "slow", "stream": True}) as long, ThreadPoolExecutor(4) as pool:
        assert long.read1(100) == b"data: one\n\n"
        clients = [pool.submit(_client, gateway, over, said, stream, kept) for stream in (False, True) * 2]
        try:
            for number in range(16):
                # The last one is dead before the gateway hears of it.
                some = [each.route for each in comes[number % 3 :][: 1 + number % 4]]
                models = [ModelRoute("a", "k", (stays.route, *some)), ModelRoute("slow", "k", (*some,))]
                models += [ModelRoute(f"m{n}", "k", (stays.route,)) for n in range(number // 4)]
                gateway.haproxy.apply(gateway.view(*models))
                wanted = len(said) + 8
                gateway.until(lambda wanted=wanted: len(said) >= wanted)
        finally:
            over.set()
        for client in clients:
            client.result()
        slow.gate.set()
        assert long.read() == b"data: two\n\n"
    assert {what for what in said if what != "served"} == set()


def _client(gateway: Any, over: threading.Event, said: list[str], stream: bool, kept: bool) -> None:
    """Ask until it is over; tells of each request how it went."""
    connection = gateway.connect()
    while not over.is_set():
        try:
            connection.request("POST", CHAT, json.dumps({"model": "a", "stream": stream}))
            answer = connection.getresponse()
            body = answer.read()
            whole = body.endswith(b"data: two\n\n") if stream else b'"model": "a"' in body
            said.append("served" if answer.status == 200 and whole else f"{answer.status} {body!r}")
        except (OSError, HTTPException) as problem:
            said.append(repr(problem))
            connection.close()
        if not kept:
            connection.close()
