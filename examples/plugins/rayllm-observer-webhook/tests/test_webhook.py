"""Events arrive at a real web server, and one that is away costs a warning."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from rayllm_observer_webhook import VARIABLE, rayllm_event

from rayllm import InputError, ModelReady, RayLLM, Removed
from rayllm.plugins import Plugins
from rayllm.testing.fake_dashboard import FakeDashboard

POINTS = [
    EntryPoint("core", "rayllm.builtin", "rayllm"),
    EntryPoint("engine-fake", "rayllm.testing.fake_engine", "rayllm"),
    EntryPoint("observer-webhook", "rayllm_observer_webhook", "rayllm"),
]
FILE = "name: demo\ncluster: {{backend: ray, options: {{address: {}}}}}\nmodels: {{m: {{engine: fake, source: /}}}}\n"


class Hook(BaseHTTPRequestHandler):
    """Remembers what is posted."""

    server: Server

    def do_POST(self) -> None:
        """Take one event."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted.append((self.path, self.headers["content-type"], json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Listens on a free port of loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.posted: list[tuple[str, str, Any]] = []
        self.status = 204
        self.url = f"http://127.0.0.1:{self.server_port}/secret-path"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server whose address is set."""
    with Server() as made:
        monkeypatch.setenv(VARIABLE, made.url)
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def plan(folder: Path) -> list[str]:
    """What a person is told of plugins while `plan` compares a file with a cluster that has nothing of it."""
    warnings: list[str] = []
    with FakeDashboard() as dashboard:
        (folder / "rayllm.yaml").write_text(FILE.format(dashboard.url))
        plugins = Plugins.discover(POINTS, disabled="", heard=warnings.append)
        assert RayLLM.from_file(folder / "rayllm.yaml", plugins=plugins).plan().has_changes
    return warnings


def test_events_arrive_in_order(server: Server) -> None:
    """As JSON, each with its type."""
    rayllm_event(ModelReady(deployment="demo", time=1.0, model="m", replicas=2, endpoint="http://h/v1"))
    rayllm_event(Removed(deployment="demo", time=2.0))
    ready = {"event": "ModelReady", "deployment": "demo", "time": 1.0, "model": "m", "replicas": 2}
    assert server.posted == [
        ("/secret-path", "application/json", {**ready, "endpoint": "http://h/v1"}),
        ("/secret-path", "application/json", {"event": "Removed", "deployment": "demo", "time": 2.0}),
    ]


def test_a_command_posts_what_it_did(server: Server, tmp_path: Path) -> None:
    """Before it ends; nothing had to be set up but the address."""
    assert plan(tmp_path) == []
    ((_, _, event),) = server.posted
    assert (event["event"], event["deployment"], event["changes"]) == (
        "PlanMade",
        "demo",
        {"m": "add", "gateway": "add"},
    )


def test_without_an_address_nothing_is_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody is warned."""
    monkeypatch.delenv(VARIABLE)
    assert (plan(tmp_path), server.posted) == ([], [])


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses_is_one_warning(server: Server, status: int, tmp_path: Path) -> None:
    """Without the address, which may be a secret; the command has done its work."""
    server.status = status
    (warning,) = plan(tmp_path)
    assert "observer-webhook" in warning
    assert f"HTTP Error {status}" in warning
    assert "secret-path" not in warning


def test_a_server_that_is_away_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own words tell why."""
    with Server() as gone:
        monkeypatch.setenv(VARIABLE, gone.url)
    (warning,) = plan(tmp_path)
    assert "Connection refused" in warning


def test_an_address_of_another_kind_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a token in the wrong variable."""
    monkeypatch.setenv(VARIABLE, "hooks.example.com/secret-path")
    with pytest.raises(InputError) as caught:
        rayllm_event(Removed(deployment="demo"))
    assert str(caught.value) == "$RAYLLM_WEBHOOK_URL does not begin with http:// or https://"
