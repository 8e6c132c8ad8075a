"""What the gateway answers itself: real HAProxy."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from rayllm.serving.haproxy.view import ModelRoute

CHAT = "/v1/chat/completions"


def error_of(answer: tuple[int, Any], status: int) -> dict[str, Any]:
    """The error of an answer, checked for OpenAI's shape."""
    assert answer[0] == status
    error: dict[str, Any] = answer[1]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    return error


@pytest.fixture
def served(gateway: Any, upstream: Any) -> tuple[Any, Any]:
    """A gateway with the models `a` and `b.c`, and the engine behind them."""
    engine = upstream("engine")
    gateway.haproxy.start(gateway.view(ModelRoute("b.c", "k", (engine.route,)), ModelRoute("a", "k", (engine.route,))))
    return gateway, engine


def test_models_are_listed(served: Any) -> None:
    """`GET /v1/models` has OpenAI's shape and a stable order."""
    status, answer = served[0].ask("GET", "/v1/models")
    assert (status, answer["object"]) == (200, "list")
    one = {"object": "model", "created": 0, "owned_by": "rayllm"}
    assert answer["data"] == [{"id": "a", **one}, {"id": "b.c", **one}]
    assert served[0].ask("GET", "/v1/models/b.c") == (200, answer["data"][1])


def test_health_is_the_gateways_own(served: Any) -> None:
    """It answers 200, for HEAD too."""
    assert served[0].ask("GET", "/health") == (200, {})
    assert served[0].open("HEAD", "/health").status == 200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("c", "c"),
        ('"}, {"x": "', '"}, {"x": "'),
        ("back\\slash\n\ttab", "back\\slash\n\ttab"),
        ("%[env(HOME)] %{+X}o $HOME", "%[env(HOME)] %{+X}o $HOME"),
        ("x" * 5000, "x" * 100),
        ("é" * 60, "é" * 50),
        ("x" * 99 + "é", "x" * 99),
    ],
)
def test_an_unknown_model_is_named(served: Any, name: object, shown: str) -> None:
    """The 404 names what was asked for, whatever it was, and what there is."""
    body = json.dumps({"model": name, "messages": []}, ensure_ascii=False).encode()
    error = error_of(served[0].ask("POST", CHAT, body), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == f'there is no model "{shown}"; the models here are: a, b.c'


def test_an_unknown_model_is_not_shown(served: Any) -> None:
    """`GET /v1/models/NAME` gives the same 404."""
    error = error_of(served[0].ask("GET", "/v1/models/none%22%0A%FF"), 404)
    assert error["message"].startswith('there is no model "none"\n"')


def test_no_models_yet(gateway: Any) -> None:
    """An empty gateway lists none and says so."""
    gateway.haproxy.start(gateway.view())
    assert gateway.ask("GET", "/v1/models") == (200, {"object": "list", "data": []})
    error = error_of(gateway.ask("POST", CHAT, {"model": "a"}), 404)
    assert error["message"] == 'there is no model "a"; there are no models here yet'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", CHAT),
        ("PUT", CHAT),
        ("DELETE", "/v1/models/a"),
        ("POST", "/v1/models"),
        ("POST", "/health"),
    ],
)
def test_what_is_not_there_is_404(served: Any, method: str, path: str) -> None:
    """Named with method and path."""
    error = error_of(served[0].ask(method, path, {"model": "a"}), 404)
    assert (error["code"], error["message"]) == ("not_found", f"there is no {method} {path} here")
    assert not served[1].seen


def test_a_hostile_path_is_quoted(served: Any) -> None:
    """Nothing of it gets out of the JSON."""
    error = error_of(served[0].ask("GET", "/%22}" + "\\" * 3 + '"' + "x" * 500), 404)
    assert error["message"] == "there is no GET " + ("/%22}" + "\\" * 3 + '"' + "x" * 500)[:200] + " here"


def test_nobody_can_answer(gateway: Any) -> None:
    """No replica and no Serve either: 503, and when to come again."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "secret-key")))
    with gateway.open("POST", CHAT, {"model": "a"}) as answer:
        error = error_of((answer.status, json.loads(answer.read())), 503)
    assert answer.headers["retry-after"] == "5"
    assert error["message"] == "no replica of the model a can answer right now"
    line = '"name":"a","model":"a","adapter":"-","replica":"serve-proxy","status":503'
    gateway.until(lambda: line in gateway.log.read_text())
    assert "secret-key" not in gateway.log.read_text()


@pytest.mark.parametrize(("status", "kind"), [(404, "text/plain"), (500, "text/html"), (503, "text/plain")])
def test_serves_own_failures_are_503(gateway: Any, upstream: Any, status: int, kind: str) -> None:
    """Its plain text never reaches a client that expects JSON."""
    serve = upstream("serve")
    serve.plain_answer = (status, kind, b"Path not found. Please ping /-/routes")
    gateway.serve_port = serve.server_port
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k")))
    assert error_of(gateway.ask("POST", CHAT, {"model": "a"}), 503)["code"] == "service_unavailable"


def test_an_engines_error_passes_through_serve(gateway: Any, upstream: Any) -> None:
    """What the engine says of a request is the engine's."""
    serve = upstream("serve")
    serve.plain_answer = (400, "application/json", b'{"error": {"message": "too long"}}')
    gateway.serve_port = serve.server_port
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k")))
    assert gateway.ask("POST", CHAT, {"model": "a"}) == (400, {"error": {"message": "too long"}})


def test_the_admin_api_is_absent(served: Any) -> None:
    """503 in JSON, at once."""
    assert error_of(served[0].ask("GET", "/rayllm/v1/state"), 503)["message"] == "RayLLM's admin API is not running"


def test_the_admin_api_gets_what_is_its(served: Any) -> None:
    """Any method and body under /rayllm/ reaches its socket, the path kept, the internal key not."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as api:
        api.settimeout(10)
        api.bind(str(served[0].run_dir / "admin.sock"))
        api.listen()
        connection = served[0].connect()
        connection.request(
            "PUT", "/rayllm/v1/lease", b"{}", {"x-rayllm-internal-key": "k", "authorization": "Bearer t"}
        )
        line, _ = api.accept()
        with line:
            while not (seen and seen[-1].endswith(b"{}")):
                seen.append(line.recv(65536))
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            assert connection.getresponse().read() == b"ok"
    head = b"".join(seen).lower()
    assert head.startswith(b"put /rayllm/v1/lease ")
    assert b"authorization: bearer t" in head
    assert b"internal-key" not in head
