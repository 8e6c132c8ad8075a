"""Rules for engines: what is declared is there, asked of the running process. Of what models say, only the shape."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from rayllm.testing.engine_kit import shapes
from rayllm.testing.engine_kit.ready_rules import GENERATES, ReadyRules
from rayllm.testing.engine_kit.samples import MODEL_NAME, able_here
from rayllm.testing.engine_kit.served import Served

_SLOW_S = 0.3
"""A stream that takes so long has to begin before most of it is over."""
_MOST_OF_IT = 0.75
_TRIES = 3
_CHAT = "/v1/chat/completions"
_FITTING = ('{"wet":true}', '{"wet":false}')
"""All that fits the schema that is asked for: whatever a small model thinks of the sea."""
_SCHEMA = {
    "type": "object",
    "properties": {"wet": {"type": "boolean"}},
    "required": ["wet"],
    "additionalProperties": False,
}
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "description": "The height of the tide at a harbour.",
        "parameters": {
            "type": "object",
            "properties": {"harbour": {"type": "string", "enum": ["Brest", "Cuxhaven"]}},
            "required": ["harbour"],
        },
    },
}
_SIDE = 64
"""Pixels: models that see want a few dozen."""


class FeatureRules(ReadyRules):
    """What is declared is there, asked of the running process."""

    def _able(self, request: pytest.FixtureRequest, word: str) -> Served:
        """The process, where it is started with the options that a feature takes."""
        if word not in able_here(self._found()):
            pytest.skip(f"it does not declare {word}")
        block, needed = self._blocks()[0], self.feature_options.get(word, {})
        if any(block.get(name) != value for name, value in needed.items()):
            pytest.skip(f"{word} takes {dict(needed)}, and it is started with {block}")
        return self._served(request)

    def _answer(self, served: Served, word: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Whatever is answered; none at all breaks the rule."""
        try:
            return served.ask("POST", path, json={"model": MODEL_NAME, **body})
        except httpx.TransportError as error:
            self._broken(f"{path} gives no answer: {error!r}", f"answer as OpenAI does, or don't declare {word}")

    def _asked(self, served: Served, word: str, path: str, body: Mapping[str, Any]) -> Any:
        """An answer with the status 200, as JSON."""
        answer = self._answer(served, word, path, body)
        if answer.status_code != httpx.codes.OK:
            do = f"don't declare {word}, or name the options that switch it on in feature_options"
            self._broken(f"{path} answers {answer.status_code} {answer.text[:200]!r}", do)
        return shapes.parsed(answer.text)

    def test_it_answers_what_it_declares(self, request: pytest.FixtureRequest) -> None:
        """Chats and completions, one token each, in OpenAI's shape."""
        served = self._served(request)
        for word, path in GENERATES.items():
            if word not in able_here(self._found()):
                continue
            answer = served.ask("POST", path, json=served.generate(path, 1)[1])
            if answer.status_code != httpx.codes.OK or not shapes.is_text(answer.text, whole=True):
                do = f"answer as OpenAI does, or don't declare {word}"
                self._broken(f"{path} answers {answer.status_code} {answer.text[:200]!r}", do)

    def test_it_streams(self, request: pytest.FixtureRequest) -> None:
        """Events while the answer is being made, the first one long before the last, `[DONE]` at the end."""
        served, path = self._served(request), self._path()
        if "streaming" not in able_here(self._found()):
            pytest.skip("it does not declare streaming")
        late = ""
        for _ in range(_TRIES):
            times, events, kind = _events(served, path)
            if not kind.startswith("text/event-stream"):
                self._broken(f"a stream has the type {kind!r}", "answer with text/event-stream")
            if events[-1:] != ["[DONE]"] or not any(map(shapes.is_text, events[:-1])):
                self._broken(f"a stream is {events[:2]} to {events[-1:]}", "send chunks as OpenAI does, then [DONE]")
            if times[-1] < _SLOW_S or times[0] < _MOST_OF_IT * times[-1]:
                return
            late = f"the first event comes {times[0]:.2f} s after the request, the last one at {times[-1]:.2f} s"
        self._broken(late, "send each token as soon as there is one")

    def test_its_answers_fit_a_schema(self, request: pytest.FixtureRequest) -> None:
        """With `structured-output`: asked for JSON of a schema, a chat answers that and nothing else."""
        served = self._able(request, "structured-output")
        form = {"type": "json_schema", "json_schema": {"name": "sea", "schema": _SCHEMA, "strict": True}}
        body = {**_chat("Is the sea wet? Answer in JSON.", 64), "response_format": form}
        answer = self._asked(served, "structured-output", _CHAT, body)
        if not shapes.fits(answer, _FITTING):
            do = "let the model write nothing but what fits, or don't declare structured-output"
            self._broken(f"asked for {' or '.join(_FITTING)} it answers {str(answer)[:300]}", do)

    def test_it_takes_tools(self, request: pytest.FixtureRequest) -> None:
        """With `tools`: a chat may offer functions, and they reach the model. Whether it calls one is the model's."""
        served = self._able(request, "tools")
        asked = _chat("How high is the tide in Brest?", 32)
        offered = {**asked, "tools": [_TOOL]}
        plain = self._asked(served, "tools", _CHAT, asked)
        auto = self._asked(served, "tools", _CHAT, {**offered, "tool_choice": "auto"})
        called = shapes.calls(auto)
        if not isinstance(shapes.at(auto, "choices", 0, "message"), dict) or "" in called:
            do = 'answer with a message, and calls as {"id": …, "function": {"name": …, "arguments": "{…}"}} in it'
            self._broken(f"offered a function, it answers {str(auto)[:300]}", do)
        if called or shapes.prompt_tokens(auto) > shapes.prompt_tokens(plain):
            return
        forced = {**offered, "tool_choice": {"type": "function", "function": {"name": "get_tide"}}}
        answer = self._answer(served, "tools", _CHAT, forced)
        if answer.status_code == httpx.codes.OK and not shapes.calls(shapes.parsed(answer.text)):
            do = "hand `tools` to the model and read its calls, or don't declare tools"
            self._broken(f"told to call get_tide, it answers {answer.text[:300]}", do)

    def test_it_embeds(self, request: pytest.FixtureRequest) -> None:
        """With `embeddings`: a vector of numbers for each text."""
        served, texts = self._able(request, "embeddings"), ["bread", "trains"]
        answer = self._asked(served, "embeddings", "/v1/embeddings", {"input": texts})
        if not shapes.are_vectors(answer, len(texts)):
            do = 'answer {"data": [{"embedding": [0.1, …]}, …]}, or don\'t declare embeddings'
            self._broken(f"asked for {len(texts)} vectors, it answers {str(answer)[:300]}", do)

    def test_it_ranks(self, request: pytest.FixtureRequest) -> None:
        """With `rerank`: a score for each document."""
        served, texts = self._able(request, "rerank"), ["The sea is wet.", "Bread is baked."]
        answer = self._asked(served, "rerank", "/v1/rerank", {"query": "Is the sea wet?", "documents": texts})
        if not shapes.is_ranking(answer, len(texts)):
            do = 'answer {"results": [{"index": 1, "relevance_score": 0.9}, …]}, or don\'t declare rerank'
            self._broken(f"asked to rank {len(texts)} documents, it answers {str(answer)[:300]}", do)

    def test_it_takes_pictures(self, request: pytest.FixtureRequest) -> None:
        """With `vision`: a chat's picture reaches the model, unless that reads text alone and says so."""
        served = self._able(request, "vision")
        asked = _chat("What is this?", 1)
        plain = self._asked(served, "vision", _CHAT, asked)
        answer = self._answer(
            served, "vision", _CHAT, _chat([_picture(), {"type": "text", "text": "What is this?"}], 1)
        )
        if answer.status_code != httpx.codes.OK and shapes.is_error(answer.text):
            pytest.skip(f"the model that it serves takes no pictures: {answer.text[:200]}")
        seen = shapes.parsed(answer.text)
        if not shapes.is_text(answer.text, whole=True):
            do = "answer as OpenAI does, or don't declare vision"
            self._broken(f"to a picture it answers {answer.status_code} {answer.text[:200]!r}", do)
        if 0 < shapes.prompt_tokens(seen) <= shapes.prompt_tokens(plain):
            do = "hand pictures to the model, refuse those that it can't take, or don't declare vision"
            self._broken("a picture adds nothing to usage.prompt_tokens: it is left out", do)


def _events(served: Served, path: str) -> tuple[list[float], list[str], str]:
    """When each event of a stream came, in seconds since the request, and what it was."""
    _, body = served.generate(path, 32, stream=True)
    begun, times, events = time.monotonic(), [], []
    with served.stream(path, body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                times.append(time.monotonic() - begun)
                events.append(line.removeprefix("data:").strip())
    return times or [0.0], events, answer.headers.get("content-type", "")


def _chat(content: Any, tokens: int) -> dict[str, Any]:
    """A request for a chat of one message."""
    return {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0}


def _picture() -> dict[str, Any]:
    """A red square, as a part of a message."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff\0\0" * _SIDE) * _SIDE)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"}}
