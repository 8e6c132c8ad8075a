"""The official clients of OpenAI's and Anthropic's APIs before a real gateway: answers, and answers that are cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from tests.conftest import free_port, until

from rayllm.serving.haproxy.guard import Guard
from rayllm.serving.haproxy.view import ModelRoute, Upstream
from rayllm.testing import fake_server

KEY = "k" * 64
BOUND_S = 20.0
CUT = {
    "chat": openai.APIConnectionError,
    "responses": openai.APIConnectionError,
    "messages": httpx2.RemoteProtocolError,
}
"""What a cut stream raises; Anthropic's client passes on what its HTTP library says."""
SAID: Any = [{"role": "user", "content": "two words"}]


@pytest.fixture
def engine() -> Iterator[Callable[..., tuple[int, subprocess.Popen[bytes]]]]:
    """Start fake engines for the model `a`; gives port and process."""
    made: list[subprocess.Popen[bytes]] = []

    def start(*flags: str) -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        argv = [sys.executable, "-I", fake_server.__file__, "--model", "a", "--port", str(port), *flags]
        made.append(subprocess.Popen([*argv, "--answer", "one two three"], stderr=subprocess.PIPE))
        lines = made[-1].stderr
        assert lines is not None
        until("the engine serves", lambda: b"serves" in lines.readline(), BOUND_S)
        return port, made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def clients(gateway: Any) -> tuple[openai.OpenAI, anthropic.Anthropic]:
    """Both clients, each trying once."""
    base = f"http://127.0.0.1:{gateway.port}"
    ours: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": BOUND_S}
    return openai.OpenAI(base_url=f"{base}/v1", **ours), anthropic.Anthropic(base_url=base, **ours)


def test_answers_whole_and_streamed(gateway: Any, engine: Any) -> None:
    """Chats, responses, embeddings, a recording and messages, as the clients read them."""
    port, _ = engine()
    gateway.haproxy.start(gateway.view(ModelRoute("a", KEY, (Upstream("r1", "127.0.0.1", port),))))
    of_openai, of_anthropic = clients(gateway)
    with of_openai, of_anthropic:
        chat = of_openai.chat.completions.create(model="a", messages=SAID)
        assert (chat.choices[0].message.content, chat.usage and chat.usage.total_tokens) == ("one two three", 5)
        parts = of_openai.chat.completions.create(model="a", messages=SAID, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in parts) == "one two three"
        assert of_openai.responses.create(model="a", input="two words").output_text == "one two three"
        events = of_openai.responses.create(model="a", input="two words", stream=True)
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "one two three"
        assert len(of_openai.embeddings.create(model="a", input=["x", "y"], encoding_format="float").data) == 2
        assert of_openai.audio.transcriptions.create(model="a", file=("a.wav", b"\0\1\2")).text == "3 bytes"
        whole = of_anthropic.messages.create(model="a", messages=SAID, max_tokens=3)
        assert (whole.content[0].text, whole.usage.output_tokens) == ("one two three", 3)  # type: ignore[union-attr]
        with of_anthropic.messages.stream(model="a", messages=SAID, max_tokens=3) as stream:
            assert "".join(stream.text_stream) == "one two three"
            assert stream.get_final_message().usage.input_tokens == 2


def asking(name: str, of_openai: openai.OpenAI, of_anthropic: anthropic.Anthropic) -> Iterator[Any]:
    """A long stream of one of the clients."""
    if name == "chat":
        yield from of_openai.chat.completions.create(model="a", messages=SAID, stream=True, max_tokens=4000)
    elif name == "responses":
        yield from of_openai.responses.create(model="a", input="x", stream=True, max_output_tokens=4000)
    else:
        yield from of_anthropic.messages.create(model="a", messages=SAID, stream=True, max_tokens=4000)


@pytest.mark.parametrize("dies", ["engine", "engine behind a guard", "guard"])
@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_a_cut_stream_is_an_error(gateway: Any, engine: Any, tmp_path: Path, name: str, dies: str) -> None:
    """Whatever is killed in the middle: the client raises and never takes the part for the whole."""
    port, process = engine("--token-s", "0.02")
    upstream, guard = Upstream("r1", "127.0.0.1", port), None
    if "guard" in dies:
        guard = Guard("127.0.0.2", free_port(), port, KEY, log=tmp_path / "guard.log", marker=f"guard-{port}")
        upstream = Upstream("r1", *guard.address, guarded=True)
    try:
        gateway.haproxy.start(gateway.view(ModelRoute("a", KEY, (upstream,))))
        of_openai, of_anthropic = clients(gateway)
        with of_openai, of_anthropic:
            events = asking(name, of_openai, of_anthropic)
            for _ in range(4):
                next(events)
            guard.stop() if guard and dies == "guard" else process.kill()
            with pytest.raises(CUT[name]):
                for _ in events:
                    pass
    finally:
        if guard:
            guard.stop()


def test_an_answer_that_breaks_off_is_an_error(gateway: Any, engine: Any) -> None:
    """502 where nothing had come yet, from both clients and in words."""
    port, _ = engine("--crash-after", "0")
    other, _ = engine("--crash-after", "0")
    gateway.haproxy.start(gateway.view(ModelRoute("a", KEY, (Upstream("r1", "127.0.0.1", port),))))
    of_openai, of_anthropic = clients(gateway)
    with of_openai, of_anthropic:
        with pytest.raises(openai.InternalServerError, match="the engine broke off") as told:
            of_openai.chat.completions.create(model="a", messages=SAID)
        assert (told.value.status_code, told.value.code) == (502, "bad_gateway")
        gateway.haproxy.apply(gateway.view(ModelRoute("a", KEY, (Upstream("r2", "127.0.0.1", other),))))
        with pytest.raises(anthropic.InternalServerError, match="the engine broke off") as said:
            of_anthropic.messages.create(model="a", messages=SAID, max_tokens=3)
        assert said.value.status_code == 502


def test_a_cut_stream_is_an_error_over_http2_too(gateway: Any, engine: Any) -> None:
    """The stream is reset, where HTTP/1.1 lacks its last chunk."""
    port, process = engine("--token-s", "0.02")
    gateway.haproxy.start(gateway.view(ModelRoute("a", KEY, (Upstream("r1", "127.0.0.1", port),))))
    body = {"model": "a", "messages": SAID, "stream": True, "max_tokens": 4000}
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    with (
        httpx2.Client(http1=False, http2=True, timeout=BOUND_S) as client,
        client.stream("POST", url, json=body) as answer,
    ):
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        parts = answer.iter_bytes()
        next(parts)
        process.kill()
        with pytest.raises(httpx2.RemoteProtocolError, match="StreamReset"):
            for _ in parts:
                pass
