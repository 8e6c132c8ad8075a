"""What is known afterwards of requests that reached no model: real HAProxy, its access log, what is made of that."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayllm.serving.haproxy import counters
from rayllm.serving.haproxy.view import KeyRule, ModelRoute
from rayllm.serving.records.ledger import Ledger
from rayllm.serving.records.metrics import Metrics

CHAT = "/v1/chat/completions"
REQUESTS = re.compile(
    r'^rayllm_requests_total{key="(\w*)",model="(\w*)",replica="([\w-]*)",status="(\d+)"} (\d+)\.0$', re.MULTILINE
)


def key(id_: str, **limits: Any) -> KeyRule:
    """A key with these limits, whose text is `sk-` and its name."""
    return KeyRule(id_, (hashlib.sha256(f"sk-{id_}".encode()).hexdigest().upper(),), **limits)


@pytest.fixture
def counted(gateway: Any, tmp_path: Path) -> Iterator[tuple[Ledger, Metrics]]:
    """What is known of the gateway's requests, as soon as the ledger has read its log."""
    metrics = Metrics(lambda: "")
    ledger = Ledger(gateway.access, tmp_path / "records.sqlite", metrics.watch)
    yield ledger, metrics
    ledger.close()


def replicas(gateway: Any, requests: int) -> list[str]:
    """Who answered by the access log, as soon as it has so many requests; HAProxy says other things there, too."""

    def found() -> list[str]:
        return re.findall('^{.*"replica":"([^"]*)"', gateway.access.read_text(), re.MULTILINE)

    gateway.until(lambda: len(found()) == requests)
    return found()


@pytest.fixture
def refusing(gateway: Any, upstream: Any) -> Any:
    """A gateway that has refused what can be refused, and answered three times."""
    keys = (key("team", requests_per_minute=50), key("paced", requests_per_minute=1))
    limited = (key("gone", expires=1), key("spent", spent_until=int(time.time()) + 100))
    view = gateway.view(ModelRoute("a", "k", (upstream("a1").route,)))
    gateway.haproxy.start(replace(view, keys=(*keys, *limited), keys_required=True, max_body=1 << 20))
    gateway.until(lambda: time.time() % 60 < 50)  # what is counted shall not be cut by the minute's end
    for secret, model, status in (
        ("", "a", 401),
        ("sk-hidden", "a", 401),
        ("sk-gone", "a", 401),
        ("sk-spent", "a", 429),
        ("sk-paced", "a", 200),
        ("sk-paced", "a", 429),
        ("sk-team", "hidden", 404),
        ("sk-team", 1, 400),
        ("sk-team", "a", 200),
    ):
        assert gateway.ask("POST", CHAT, {"model": model}, x_api_key=secret)[0] == status
    assert gateway.ask("POST", CHAT, b"{", x_api_key="sk-team", content_length="9999999")[0] == 413
    assert [gateway.ask("GET", path, x_api_key="sk-team")[0] for path in ("/v1/models", "/health")] == [200, 200]
    assert gateway.open("GET", "/rayllm/v1/state").status == 503
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as line:
        line.sendall(b"nothing\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 400 ")
    replicas(gateway, 14)
    return gateway


@pytest.mark.usefixtures("refusing")
def test_metrics_of_what_is_refused(counted: Any) -> None:
    """By key and status, without the gateway's own paths; what a client wrote is no label."""
    ledger, metrics = counted
    assert ledger.fold() == 12
    text = metrics.text().decode()
    assert {(*labels, int(count)) for *labels, count in REQUESTS.findall(text)} == {
        ("", "", "-", "400", 1),
        ("", "", "-", "401", 2),
        ("gone", "", "-", "401", 1),
        ("spent", "", "-", "429", 1),
        ("paced", "", "-", "429", 1),
        ("paced", "a", "a1", "200", 1),
        ("team", "", "-", "200", 1),
        ("team", "", "-", "400", 1),
        ("team", "", "-", "404", 1),
        ("team", "", "-", "413", 1),
        ("team", "a", "a1", "200", 1),
    }
    assert "hidden" not in text
    assert 'model=""' not in "".join(line for line in text.splitlines() if "_seconds" in line)


@pytest.mark.usefixtures("refusing")
def test_usage_of_what_is_refused(counted: Any) -> None:
    """Errors of the key, where it is known."""
    ledger, _ = counted
    ledger.fold()
    assert [(*row.group, row.requests, row.errors) for row in ledger.usage(0, 1e11)] == [
        ("gone", "", 1, 1),
        ("paced", "", 1, 1),
        ("paced", "a", 1, 0),
        ("spent", "", 1, 1),
        ("team", "", 4, 3),
        ("team", "a", 1, 0),
    ]


def test_what_a_next_haproxy_is_told(refusing: Any, counted: Any) -> None:
    """As many requests of each key as this one has counted."""
    ledger, _ = counted
    ledger.fold()
    assert ledger.recent_requests() == counters.counted(refusing.run_dir)
    assert sum(ledger.recent_requests().values()) == 6


def test_a_large_request_that_is_given_up_is_counted_once(gateway: Any, upstream: Any, counted: Any) -> None:
    """Both front doors have a line for it, since neither has seen an answer."""
    engine = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (engine.route,))))
    connection = gateway.connect()
    connection.request("POST", CHAT, json.dumps({"model": "a", "slow": True, "messages": "x" * 400_000}))
    gateway.until(lambda: engine.seen)
    connection.close()
    assert sorted(replicas(gateway, 2)) == ["a1", "many"]
    ledger, metrics = counted
    assert ledger.fold() == 1
    assert [row[1] for row in REQUESTS.findall(metrics.text().decode())] == ["a"]


def test_what_an_old_worker_hands_on_is_counted_once(gateway: Any, upstream: Any, counted: Any) -> None:
    """Each of the two has a line for it."""
    view = gateway.view(ModelRoute("a", "k", (upstream("a1").route,)))
    gateway.haproxy.start(view)
    connection = gateway.connect()
    for model, status in (("a", 200), ("none", 404)):
        connection.request("POST", CHAT, json.dumps({"model": model}))
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (status, True)
        gateway.haproxy.apply(replace(view, routes=(*view.routes, ModelRoute("b", "k"))))
    assert sorted(replicas(gateway, 3)) == ["<lua.unknown-model>", "a1", "next"]
    ledger, metrics = counted
    assert ledger.fold() == 2
    assert sorted(REQUESTS.findall(metrics.text().decode())) == [("", "", "-", "404", "1"), ("", "a", "a1", "200", "1")]
