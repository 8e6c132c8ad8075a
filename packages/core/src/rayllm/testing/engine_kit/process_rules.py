"""Rules for engines: the running process, as gateways and replicas deal with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import Any, ClassVar

import httpx
import pytest

from rayllm.testing.engine_kit import samples
from rayllm.testing.engine_kit.command_rules import CommandRules
from rayllm.testing.engine_kit.served import HOST, POLL_S, STOP_S, Served, Wanted, start
from rayllm.testing.plugin_rules import installed

CANCEL_S = 10.0
"""Seconds after a client has gone in which the engine lets go of its request."""
_GENERATES = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_LONG = (512, 256, 128, 64)
"""Tokens of a request that takes a while; the first that the engine's context holds."""
_SLOW_S = 0.3
"""A stream that takes so long has to begin before most of it is over."""
_MOST_OF_IT = 0.75
_TRIES = 3
_RUNNING: dict[type, Served | str] = {}
"""By test class: its process, or why there is none."""


class ProcessRules(CommandRules):
    """The running process, as gateways and replicas deal with it."""

    model: ClassVar[str | None] = None
    """What it serves: a path or a URI as under `source:`; None for an engine that needs no model."""
    environment: ClassVar[str] = "auto"
    """Whose Python runs it, as under `environment:`. `auto` builds what the engine requires, below `$RAYLLM_HOME`."""
    ready_s: ClassVar[float] = 300.0
    """Seconds that it may take to start."""
    not_run: ClassVar[str] = ""
    """Why it can't be run here ("needs a GPU"): then the rules about its process are skipped, with this reason."""

    def _served(self, request: pytest.FixtureRequest) -> Served:
        """The process, started by whichever rule comes first and ended behind the last one of the class."""
        if self.not_run:
            pytest.skip(self.not_run)
        engine, block = self._found(), self._blocks()[0]
        key = type(self)
        if key not in _RUNNING:
            wanted = Wanted(
                engine=engine, options=block, environment=self.environment, model=self.model, ready_s=self.ready_s
            )
            try:
                made = start(wanted, installed())
            # Whatever keeps it from being started is the first rule's failure.
            except Exception as error:  # noqa: BLE001
                _RUNNING[key] = f"{type(error).__name__}: {error}"
            else:
                _RUNNING[key] = made.failure or made
                whole = request.node.getparent(pytest.Class) or request.node
                whole.addfinalizer(made.stop)
            whole = request.node.getparent(pytest.Class) or request.node
            whole.addfinalizer(lambda: _RUNNING.pop(key, None))
        found = _RUNNING[key]
        if isinstance(found, str):
            if self._rule == "test_it_gets_ready":
                self._broken(found, "see what keeps it from serving; `not_run` if it can't run here")
            pytest.skip("it did not get ready, which is another rule's failure")
        return found

    def _path(self) -> str:
        """Where it is asked for a text."""
        path = next((path for word, path in _GENERATES.items() if word in self._found().capabilities), None)
        return path or pytest.skip("it declares neither chat nor completions")

    def test_it_gets_ready(self, request: pytest.FixtureRequest) -> None:
        """Its `ready` path answers 200 once it can serve, and not before."""
        if early := self._served(request).early:
            do = "answer 200 at Command.ready only once requests can be served"
            self._broken(f"it calls itself ready while {' and '.join(early)}", do)

    def test_it_lists_its_model(self, request: pytest.FixtureRequest) -> None:
        """A replica that sees another name under /v1/models does not serve."""
        answer = self._served(request).ask("GET", "/v1/models")
        try:
            listed = [entry["id"] for entry in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            self._broken(f"/v1/models answers {answer.text[:200]!r}", 'answer {"data": [{"id": MODEL_NAME}]}')
        if samples.MODEL_NAME not in listed:
            self._broken(f"/v1/models lists {listed}", "list launch.model_name")

    def test_it_answers_what_it_declares(self, request: pytest.FixtureRequest) -> None:
        """Chats and completions, one token each, in OpenAI's shape."""
        served = self._served(request)
        for word, path in _GENERATES.items():
            if word not in self._found().capabilities:
                continue
            answer = served.ask("POST", path, json=served.generate(path, 1)[1])
            if answer.status_code != httpx.codes.OK or not _is_text(answer.text, whole=True):
                do = f"answer as OpenAI does, or don't declare {word}"
                self._broken(f"{path} answers {answer.status_code} {answer.text[:200]!r}", do)

    def test_it_streams(self, request: pytest.FixtureRequest) -> None:
        """Events while the answer is being made, the first one long before the last, `[DONE]` at the end."""
        served, path = self._served(request), self._path()
        if "streaming" not in self._found().capabilities:
            pytest.skip("it does not declare streaming")
        late = ""
        for _ in range(_TRIES):
            times, events, kind = _events(served, path)
            if not kind.startswith("text/event-stream"):
                self._broken(f"a stream has the type {kind!r}", "answer with text/event-stream")
            if events[-1:] != ["[DONE]"] or not any(map(_is_text, events[:-1])):
                self._broken(f"a stream is {events[:2]} to {events[-1:]}", "send chunks as OpenAI does, then [DONE]")
            if times[-1] < _SLOW_S or times[0] < _MOST_OF_IT * times[-1]:
                return
            late = f"the first event comes {times[0]:.2f} s after the request, the last one at {times[-1]:.2f} s"
        self._broken(late, "send each token as soon as there is one")

    def test_it_lets_go_of_a_client_that_leaves(self, request: pytest.FixtureRequest) -> None:
        """A request whose client has hung up costs nothing more."""
        served, path = self._served(request), self._path()
        if not _left_early(served, path):
            pytest.skip("no request of the kit's took long enough to be left")
        deadline = time.monotonic() + CANCEL_S
        if self._found().gauges is None:
            try:
                served.ask("POST", path, CANCEL_S, json=served.generate(path, 1)[1])
            except httpx.TransportError as error:
                self._broken(f"behind a client that left, the next one gets no answer: {error!r}", "end its request")
            return
        if served.load() is None:
            pytest.skip("its gauges can't be read, which is another rule's failure")
        while (load := served.load()) and load.ongoing:
            if time.monotonic() > deadline:
                seen = f"{CANCEL_S:g} s after its client left, a request is still in its gauges: {load}"
                self._broken(seen, "end the generation when the connection breaks")
            time.sleep(POLL_S)

    def test_it_tells_its_load(self, request: pytest.FixtureRequest) -> None:
        """Under the names of its gauges; the tokens that it generates are counted."""
        served, gauges = self._served(request), self._found().gauges
        if gauges is None:
            pytest.skip("it has no gauges")
        text = served.ask("GET", served.command.metrics or "/metrics").text
        for name in (gauges.running, gauges.waiting, gauges.generated):
            if f"\n{name}" not in f"\n{text}":
                self._broken(f"its metrics have no {name}", "name the metrics that the engine writes")
        before, path = served.load(), self._path()
        served.ask("POST", path, json=served.generate(path, 4)[1])
        after = served.load()
        if before is None or after is None or after.generated <= before.generated:
            self._broken(f"{gauges.generated} does not grow: {before}, then {after}", "count generated tokens")

    def test_its_errors_have_openais_shape(self, request: pytest.FixtureRequest) -> None:
        """A mistake of the client is answered in the 400s, with words that its library shows."""
        served, path = self._served(request), self._path()
        body = served.generate(path, 1)[1]
        wrong: dict[str, dict[str, Any]] = {
            "a body that is no JSON": {"content": b"{no", "headers": {"content-type": "application/json"}},
            "a model that it does not serve": {"json": {**body, "model": "no-such-model"}},
            "max_tokens: 'many'": {"json": {**body, "max_tokens": "many"}},
        }
        for what, asked in wrong.items():
            try:
                answer = served.ask("POST", path, **asked)
            except httpx.TransportError as error:
                self._broken(f"{what} gets no answer: {error!r}", "answer 400 with an error as OpenAI does")
            if not httpx.codes.is_client_error(answer.status_code) or not _is_error(answer.text):
                do = 'answer in the 400s with {"error": {"message": …, "type": …}}'
                self._broken(f"{what} is answered {answer.status_code} {answer.text[:200]!r}", do)

    def test_it_listens_nowhere_else(self, request: pytest.FixtureRequest) -> None:
        """On the address that it was given: who else may reach it is the gateway's to decide."""
        port = self._served(request).port.number
        for host in ("127.0.0.2", "::1"):
            try:
                socket.create_connection((host, port), timeout=1).close()
            except OSError:
                continue
            self._broken(f"told to listen on {HOST}, it listens on {host}, too", "bind launch.host alone")

    def test_it_stops(self, request: pytest.FixtureRequest) -> None:
        """SIGTERM ends it, and all that it started, in good time."""
        served = self._served(request)
        _RUNNING.pop(type(self), None)
        deadline = time.monotonic() + STOP_S
        os.kill(served.process.pid, signal.SIGTERM)
        while (left := served.left()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if left:
            what = "it" if served.process.poll() is None else "what it had started"
            do = "end on SIGTERM, and let no child ignore it"
            self._broken(f"{what} still runs {STOP_S:g} s after SIGTERM (pids {left})", do)


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


def _left_early(served: Served, path: str) -> bool:
    """Ask for a long text and hang up behind its first bytes; False if it was over before that."""
    for tokens in _LONG:
        _, body = served.generate(path, tokens, stream="streaming" in served.wanted.engine.capabilities)
        try:
            with httpx.stream(
                "POST", served.url + path, json=body, timeout=httpx.Timeout(30, read=1), trust_env=False
            ) as answer:
                if answer.status_code == httpx.codes.OK:
                    return bool(next(answer.iter_bytes(), b"")) and bool(body["stream"])
        except httpx.ReadTimeout:
            return True
    return False


def _is_text(event: str, *, whole: bool = False) -> bool:
    """Whether it is an answer, or a part of one, with a choice in it."""
    try:
        choice = json.loads(event)["choices"][0]
    except (ValueError, LookupError, TypeError):
        return False
    said = choice.get("message" if whole else "delta") if isinstance(choice, dict) else None
    return isinstance(said, dict) or (isinstance(choice, dict) and isinstance(choice.get("text"), str))


def _is_error(text: str) -> bool:
    """Whether a client's library finds a message in it."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, LookupError, TypeError):
        return False
    return isinstance(error, dict) and bool(error.get("message")) and isinstance(error.get("type"), str)
