"""Talking to a model: what is asked, what is told of the answer, and of one that never came."""

from __future__ import annotations

import asyncio
import builtins
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import free_port, until
from tests.unit.core.operator.conftest import MemoryBackend, Open

from rayllm import AsyncRayLLM, ChatPart
from rayllm.api import RayLLM
from rayllm.cli import chat as command
from rayllm.cli.chat import chat
from rayllm.errors import ClusterError, InputError
from rayllm.testing import fake_server
from rayllm.testing.fake_dashboard import App, FakeDashboard, Handler

ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/weights/small}}"
HERE = Path("rayllm.yaml")
ASKED = [{"role": "user", "content": "hi"}]


def events(*deltas: dict[str, Any], end: str = "data: [DONE]\n\n") -> str:
    """A stream of answers."""
    return "".join(f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n" for delta in deltas) + end


class Endpoint:
    """The next answers of the gateway, and what it was asked."""

    def __init__(self, dashboard: FakeDashboard) -> None:
        self.asked: list[dict[str, Any]] = []
        self._dashboard = dashboard

    def will(self, body: object, status: int = 200, kind: str = "text/event-stream") -> None:
        """Answer the next question so."""

        def answer(handler: Handler) -> bool:
            self.asked.append(json.loads(handler.body))
            return handler.answer(status, body, kind)

        self._dashboard.disturbances.append(answer)


@pytest.fixture
def endpoint(dashboard: FakeDashboard) -> Endpoint:
    """At the dashboard's address."""
    return Endpoint(dashboard)


@pytest.fixture
def llm(opened: Open, monkeypatch: pytest.MonkeyPatch) -> RayLLM:
    """One model; every command opens it."""
    found = RayLLM(opened(ONE))
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: found)
    return found


def test_an_answer_in_pieces(llm: RayLLM, endpoint: Endpoint) -> None:
    """Text, reasoning under either name, why it ended, and how long it was."""
    usage = 'data: {"choices": [], "usage": {"completion_tokens": 9}}\n\ndata: [DONE]\n\n'
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "so"}, {"reasoning": "?"}, {"content": "hi"}]
    endpoint.will(": a comment\n\n" + events(*deltas, end=usage))
    assert list(llm.chat(ASKED, max_tokens=9, temperature=0)) == [
        ChatPart(reasoning="so"),
        ChatPart(reasoning="?"),
        ChatPart(text="hi"),
        ChatPart(tokens=9),
    ]
    (asked,) = endpoint.asked
    assert (asked["model"], asked["messages"], asked["stream"]) == ("small", ASKED, True)
    assert (asked["max_tokens"], asked["temperature"]) == (9, 0)


def test_the_same_asynchronously(llm: RayLLM, endpoint: Endpoint) -> None:
    """Errors, too."""

    async def ask() -> list[ChatPart]:
        return [part async for part in AsyncRayLLM(llm.session).chat(ASKED)]

    endpoint.will(events({"content": "hi"}))
    assert asyncio.run(ask()) == [ChatPart(text="hi")]
    endpoint.will(events({"content": "hi"}, end=""))
    with pytest.raises(ClusterError, match="the answer of small broke off"):
        asyncio.run(ask())
    endpoint.will({"error": {"message": "too long"}}, 400, "application/json")
    with pytest.raises(ClusterError, match=r"small refused the question \(HTTP 400\)\n  cause  too long"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (events({"content": "hi"}, end=""), 200, "the answer of small broke off\n  cause  the connection ended before"),
        (events(end='data: {"error": {"message": "dead"}}\n\n'), 200, "the engine broke its answer off\n  cause  dead"),
        ("<html>", 200, "the answer of small broke off"),
        ({"error": {"message": "no tokens left"}}, 400, r"refused the question \(HTTP 400\)\n  cause  no tokens left"),
        ("plain", 418, r"refused the question \(HTTP 418\)\n  cause  plain"),
        ({"error": {"message": "no", "code": "model_not_found"}}, 404, "small is not deployed\n  cause  no\n  do .*up"),
        ({"error": {"message": "no replica"}}, 503, "small can't answer now\n  cause  no replica\n  do     ask again"),
    ],
)
def test_an_answer_that_is_none(llm: RayLLM, endpoint: Endpoint, body: object, status: int, text: str) -> None:
    """In words, with the engine's own."""
    kind = "text/event-stream" if "data:" in str(body) else "text/html" if body == "<html>" else "application/json"
    endpoint.will(body, status, kind)
    with pytest.raises(ClusterError, match=text):
        list(llm.chat(ASKED))


def test_nobody_is_there(llm: RayLLM, dashboard: FakeDashboard) -> None:
    """What `status` says is the cause: the gateway is gone, the model failed, nothing runs."""
    backend = llm.session.backend
    assert isinstance(backend, MemoryBackend)
    assert backend.cluster
    backend.cluster = replace(backend.cluster, gateway_url=f"http://127.0.0.1:{free_port()}")
    config = {"args": {}, "deployments": [{"name": "d", "num_replicas": 1}]}
    dashboard.serve.put({"applications": [{**config, "name": f"demo--{name}"} for name in ("small", "rayllm")]})
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "rayllm.errors.X: no memory", [])
    with pytest.raises(ClusterError, match=r"small is not ready: failed\n  cause  no memory\n  do .*rayllm up"):
        list(llm.chat(ASKED))
    dashboard.serve.does["demo--rayllm"] = App("DEPLOY_FAILED", "rayllm.errors.X: port 1", [])
    with pytest.raises(ClusterError, match="gateway is not ready: failed\n  cause  port 1"):
        list(llm.chat(ASKED))
    backend.cluster = None
    with pytest.raises(ClusterError, match="demo is not running"):
        list(llm.chat(ASKED))


def test_an_alias_is_asked_like_a_model(opened: Open, endpoint: Endpoint) -> None:
    """Whatever name the endpoint has, and no other."""
    llm = RayLLM(opened(f"{ONE}\ngateway: {{aliases: {{tiny: small}}}}"))
    endpoint.will(events({"content": "hello"}))
    assert "".join(part.text for part in llm.chat(ASKED, "tiny")) == "hello"
    assert endpoint.asked[0]["model"] == "tiny"
    with pytest.raises(InputError, match="it has small, tiny"):
        llm.chat(ASKED, "huge")


def test_which_model(opened: Open) -> None:
    """The only one, or one that is named."""
    llm = RayLLM(opened())
    with pytest.raises(InputError, match=r"which model\? .*rayllm.yaml has small, large"):
        llm.chat(ASKED)
    with pytest.raises(InputError, match='did you mean "small"'):
        llm.chat(ASKED, "smal")


@pytest.fixture
def engine(llm: RayLLM) -> Iterator[str]:
    """A real fake engine in the gateway's place, which takes its time."""
    argv = [sys.executable, fake_server.__file__, "--model", "small", "--port", "0", "--token-s", "0.2"]
    with subprocess.Popen([*argv, "--answer", "a b c d"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        port = next(line for line in process.stderr if "serves" in line).rpartition(":")[2].strip()
        backend = llm.session.backend
        assert isinstance(backend, MemoryBackend)
        assert backend.cluster
        backend.cluster = replace(backend.cluster, gateway_url=f"http://127.0.0.1:{port}")
        yield backend.cluster.gateway_url
        process.terminate()


def test_an_answer_that_is_cut_ends_in_the_engine(llm: RayLLM, engine: str) -> None:
    """It notices that nobody listens any more."""

    def idle() -> bool:
        with httpx.Client(trust_env=False) as client:
            return (
                'vllm:num_requests_running{engine="0",model_name="small"} 0.0' in client.get(f"{engine}/metrics").text
            )

    with closing(llm.chat(ASKED, max_tokens=500)) as parts:
        assert next(parts).text == "a"
        assert not idle()
    until("the engine has nothing to do", idle, 10)

    async def cut() -> None:
        async with aclosing(AsyncRayLLM(llm.session).chat(ASKED, max_tokens=500)) as parts:
            assert (await anext(parts)).text == "a"
            assert not idle()

    asyncio.run(cut())
    until("the engine has nothing to do", idle, 10)


def types(monkeypatch: pytest.MonkeyPatch, *lines: str | type[BaseException]) -> None:
    """A person at a terminal, who writes these lines and then Ctrl-D."""
    left = iter(lines)

    def line(prompt: str) -> str:
        said = next(left, EOFError)
        if isinstance(said, str):
            return said
        raise said

    monkeypatch.setattr(builtins, "input", line)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)


def test_a_conversation(
    llm: RayLLM, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is remembered, but for what failed, until it is forgotten; the system prompt is not forgotten."""
    types(monkeypatch, "one", "", "two", "three", "/what", "/clear", "four")
    endpoint.will(events({"content": "\nOne."}))
    endpoint.will({"error": {"message": "too long"}}, 400, "application/json")
    endpoint.will(events({"reasoning": "hm"}, {"content": "Three."}))
    endpoint.will(events({"content": "Four."}))
    chat("small", HERE, system="Be short.")
    out, err = capsys.readouterr()
    assert out == "One.\nThree.\nFour.\n"
    assert "small refused the question (HTTP 400)\n  cause  too long" in err
    assert command.HELP in err
    assert "forgotten" in err
    told = [[message["content"] for message in asked["messages"]] for asked in endpoint.asked]
    assert told == [
        ["Be short.", "one"],
        ["Be short.", "one", "\nOne.", "two"],
        ["Be short.", "one", "\nOne.", "three"],
        ["Be short.", "four"],
    ]


@pytest.mark.parametrize("end", ["/bye", KeyboardInterrupt, EOFError])
def test_the_end_of_a_conversation(
    llm: RayLLM, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, end: str | type[BaseException]
) -> None:
    """Nothing more is asked."""
    types(monkeypatch, end, "more")
    chat("small", HERE)
    assert endpoint.asked == []


def test_ctrl_c_cuts_an_answer_and_not_the_conversation(
    llm: RayLLM, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was said until then is remembered."""
    real = RayLLM.chat

    def cut(self: RayLLM, *args: Any, **more: Any) -> Iterator[ChatPart]:
        yield next(iter(real(self, *args, **more)))
        raise KeyboardInterrupt

    types(monkeypatch, "one", "two")
    endpoint.will(events({"content": "On"}, {"content": "e."}))
    endpoint.will(events({"content": "Two."}))
    monkeypatch.setattr(RayLLM, "chat", cut)
    chat("small", HERE)
    out, err = capsys.readouterr()
    assert out == "OnTwo."
    assert err.count("(cut)") == 2
    assert [message["content"] for message in endpoint.asked[1]["messages"]] == ["one", "On", "two"]


def test_once(llm: RayLLM, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer alone is on stdout, and nothing on stderr where no terminal is."""
    endpoint.will(events({"reasoning": "hm"}, {"content": "Yes."}))
    chat(file=HERE, once="really?")
    assert capsys.readouterr() == ("Yes.\n", "")
    with pytest.raises(InputError, match="there is no question"):
        chat(file=HERE, once=" ")


def test_how_quick_it_was(
    llm: RayLLM, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told to a terminal, with what is thought."""
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    usage = 'data: {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": {"completion_tokens": 7}}\n\n'
    endpoint.will(events({"reasoning": "hm"}, {"content": "Yes."}, end=usage + "data: [DONE]\n\n"))
    monkeypatch.setenv("NO_COLOR", "1")
    chat(file=HERE, once="really?")
    out, err = capsys.readouterr()
    assert out == "hmYes.\n"
    assert err.startswith("first token ")
    assert err.endswith("tokens/s · 7 tokens · cut at the most tokens allowed\n")
