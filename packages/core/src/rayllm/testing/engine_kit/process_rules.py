"""Rules for engines: the running process, as gateways and replicas deal with it."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import httpx
import pytest

from rayllm.testing.engine_kit.feature_rules import FeatureRules
from rayllm.testing.engine_kit.ready_rules import RUNNING
from rayllm.testing.engine_kit.samples import able_here
from rayllm.testing.engine_kit.served import HOST, POLL_S, STOP_S, Served
from rayllm.testing.engine_kit.shapes import is_error

CANCEL_S = 10.0
"""Seconds after a client has gone in which the engine lets go of its request."""
_LONG = (512, 256, 128, 64)
"""Tokens of a request that takes a while; the first that the engine's context holds."""


class ProcessRules(FeatureRules):
    """The running process, as gateways and replicas deal with it."""

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
            if not httpx.codes.is_client_error(answer.status_code) or not is_error(answer.text):
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
        RUNNING.pop(type(self), None)
        deadline = time.monotonic() + STOP_S
        os.kill(served.process.pid, signal.SIGTERM)
        while (left := served.left()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if left:
            what = "it" if served.process.poll() is None else "what it had started"
            do = "end on SIGTERM, and let no child ignore it"
            self._broken(f"{what} still runs {STOP_S:g} s after SIGTERM (pids {left})", do)


def _left_early(served: Served, path: str) -> bool:
    """Ask for a long text and hang up behind its first bytes; False if it was over before that."""
    for tokens in _LONG:
        _, body = served.generate(path, tokens, stream="streaming" in able_here(served.wanted.engine))
        try:
            with httpx.stream(
                "POST", served.url + path, json=body, timeout=httpx.Timeout(30, read=1), trust_env=False
            ) as answer:
                if answer.status_code == httpx.codes.OK:
                    return bool(next(answer.iter_bytes(), b"")) and bool(body["stream"])
        except httpx.ReadTimeout:
            return True
    return False
