"""API keys from the operator's side: made here, told by digest, shown to the gateway by what asks from here."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.certificates import FIRST
from tests.unit.core.operator.conftest import Open, Shown

from rayllm import AsyncRayLLM, ClusterError, InputError, RayLLM
from rayllm.api import client_options
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import file_keys, proposal, watch
from rayllm.deployment.chat import question
from rayllm.deployment.file_keys import key_headers
from rayllm.deployment.keys import digest_of, new_key
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/weights/small}}\n"
KEYED = ONE + "gateway: {keys: {env: KEYS}, aliases: {tiny: small}}\n"
SECRET = "sk-0123456789abcdef"
BOTH = {"authorization": f"Bearer {SECRET}", "x-api-key": SECRET}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Polls make no pause, and code is a package of nothing."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    monkeypatch.setattr(file_keys, "_PAUSE_S", 0.01)
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]


def heard(dashboard: FakeDashboard) -> list[dict[str, Any]]:
    """Collects the bodies of requests about keys."""
    found: list[dict[str, Any]] = []

    class Listening(list[Any]):
        def __bool__(self) -> bool:
            return True

        def popleft(self) -> Any:
            return listen

    def listen(handler: Handler) -> bool:
        if "/keys" in handler.path and handler.body:
            found.append(json.loads(handler.body))
        return False

    dashboard.disturbances = Listening()  # type: ignore[assignment]  # one that never ends
    return found


def test_a_key_leaves_as_a_digest(opened: Open, dashboard: FakeDashboard) -> None:
    """With the limits that were given; what is answered is the key, in no representation."""
    bodies = heard(dashboard)
    keys = RayLLM(opened(ONE)).keys
    made = keys.add("me", models=["small"], expires_s=100, requests_per_minute=5)
    (told,) = bodies
    assert (told["name"], told["digest"], told["models"]) == ("me", digest_of(made.key), ["small"])
    assert abs(told["expires"] - time.time() - 100) < 10
    assert (told["requests_per_minute"], told["tokens_per_day"]) == (5, None)
    assert made.key not in str(bodies) + repr(made)
    again = keys.rotate("me", grace_s=60)
    assert bodies[1] == {"digest": digest_of(again.key), "grace_s": 60}
    assert again.key != made.key


def test_listing_and_revoking(opened: Open, dashboard: FakeDashboard) -> None:
    """States follow from the times; the asynchronous ones say the same."""
    session = opened(ONE)
    keys = RayLLM(session).keys
    for name, seconds in (("a", None), ("b", 1000.0), ("c", None)):
        keys.add(name, expires_s=seconds)
    dashboard.keys["b"]["expires"] = int(time.time()) - 1
    assert keys.revoke("c").state == "revoked"
    assert [(key.name, key.state) for key in keys.list()] == [("a", "active"), ("b", "expired"), ("c", "revoked")]

    async def live() -> None:
        same = AsyncRayLLM(session).keys
        assert await same.list() == keys.list()
        assert (await same.add("d")).name == "d"
        assert (await same.rotate("d")).name == "d"
        assert (await same.revoke("d")).state == "revoked"
        assert await same.usage() == []

    asyncio.run(live())


def test_usage(opened: Open, dashboard: FakeDashboard) -> None:
    """By key and model, of one key or all, from the beginning of a day."""
    row = {"model": "m", "requests": 2, "errors": 0, "prompt_tokens": 3, "completion_tokens": 4, "estimated": 0}
    dashboard.usage = [{"key": "me", **row}, {"key": "you", **row}]
    keys = RayLLM(opened(ONE)).keys
    assert [used.key for used in keys.usage()] == ["me", "you"]
    (mine,) = keys.usage("me", days=1)
    assert (mine.requests, mine.prompt_tokens, mine.completion_tokens) == (2, 3, 4)
    with pytest.raises(InputError, match="at least 1"):
        keys.usage(days=0)


def test_what_is_wrong_is_said(opened: Open, dashboard: FakeDashboard) -> None:
    """Before anything is sent where that can be told here, else in the gateway's words."""
    keys = RayLLM(opened(ONE)).keys
    with pytest.raises(InputError, match="has no model 'smal'; did you mean"):
        keys.add("me", models=["smal"])
    with pytest.raises(InputError, match="can't be a key's name"):
        keys.add("a/b")
    with pytest.raises(InputError, match="tokens_per_day has to be a whole number"):
        keys.add("me", tokens_per_day=0)
    with pytest.raises(InputError, match="there is no key a/b"):
        keys.revoke("a/b")
    assert not [asked for asked in dashboard.asked if "keys" in asked]
    with pytest.raises(InputError, match="there is no key me"):
        keys.rotate("me")
    dashboard.disturbances.append(lambda handler: handler.answer(503, {"error": {"message": "the disk is full"}}))
    with pytest.raises(ClusterError, match="the disk is full"):
        keys.add("me")
    dashboard.disturbances.append(lambda handler: handler.answer(200, "<html>", "text/html"))
    with pytest.raises(ClusterError, match="the gateway does not answer"):
        keys.add("me")
    dashboard.token = "another"
    with pytest.raises(ClusterError):
        keys.list()


def test_up_tells_the_files_keys(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """By digest, and says how many and from where; a gateway that makes way meanwhile is no mistake."""
    bodies = heard(dashboard)
    RayLLM(opened(KEYED, environ={"KEYS": f"me={SECRET},{SECRET}2"})).up(shown)
    assert "✔ keys: 2 from KEYS" in shown.lines
    assert bodies[-1] == {"keys": {"me": digest_of(SECRET), "default": digest_of(f"{SECRET}2")}}
    assert SECRET not in str(bodies) + str(dashboard.serve.told) + str(shown.lines)
    bodies.clear()
    shown.lines.clear()
    RayLLM(opened(ONE)).up(shown)
    assert bodies[-1] == {"keys": {}}
    assert not [line for line in shown.lines if "keys" in line]
    dashboard.keys.clear()
    RayLLM(opened(ONE + "gateway: {keys: required}")).up(shown)
    assert "✔ keys: required, none yet: rayllm keys add NAME" in shown.lines


def test_up_insists(opened: Open, dashboard: FakeDashboard, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that does not take the keys is asked again, for a while."""
    tell, refusals = file_keys.FileKeys._tell, iter([ClusterError("not now"), ClusterError("not now"), None])

    def refusing(self: file_keys.FileKeys) -> None:
        if refusal := next(refusals, None):
            raise refusal
        tell(self)

    monkeypatch.setattr(file_keys.FileKeys, "_tell", refusing)
    RayLLM(opened(KEYED, environ={"KEYS": SECRET})).up(shown)
    assert "✔ keys: 1 from KEYS" in shown.lines
    monkeypatch.setattr(file_keys, "_TRIES_S", 0.0)
    refusals = iter([ClusterError("not now")] * 9)
    with pytest.raises(ClusterError, match="not now"):
        RayLLM(opened(KEYED, environ={"KEYS": SECRET})).up(shown)


def test_what_asks_from_here_shows_a_key(opened: Open) -> None:
    """The variable's, else the file's first, in both headers; without one it is said how to get it."""
    keyed = opened(KEYED, environ={"KEYS": SECRET})
    asked = question(keyed, [], None, None, None)
    assert asked.headers == BOTH
    assert SECRET not in repr(asked)
    assert key_headers(opened(ONE, environ={"RAYLLM_API_KEY": SECRET}).checked) == BOTH
    assert key_headers(opened(ONE).checked) == {}
    with pytest.raises(InputError, match="there is none here\n  do     export RAYLLM_API_KEY="):
        key_headers(opened(ONE + "gateway: {keys: required}").checked)
    with pytest.raises(InputError, match="holds a space") as wrong:
        key_headers(opened(ONE, environ={"RAYLLM_API_KEY": f"{SECRET} x"}).checked)
    assert SECRET not in str(wrong.value)


def test_the_official_clients_options(opened: Open) -> None:
    """A key of the caller's own goes before the file's, in both headers."""
    keyed = opened(KEYED, environ={"KEYS": SECRET})
    options = client_options(keyed, {"default_headers": {"x-mine": "1"}, "timeout": 5}, httpx.Client)
    assert (options["api_key"], options["timeout"]) == (SECRET, 5)
    assert options["default_headers"] == {"x-api-key": SECRET, "x-mine": "1"}
    own = client_options(opened(ONE + "gateway: {keys: required}"), {"api_key": "own-key"}, httpx.Client)
    assert (own["api_key"], own["default_headers"]) == ("own-key", {"x-api-key": "own-key"})
    assert client_options(opened(ONE), {}, httpx.Client)["api_key"] == "none"


def test_a_client_trusts_the_gateways_certificate(opened: Open, tmp_path: Path) -> None:
    """Where it has one, that alone; a client of one's own stays."""
    pem = tmp_path / "gateway.pem"
    pem.touch(0o600)
    pem.write_text(FIRST)
    secure = opened(f"{ONE}gateway: {{tls: PEM}}\nsecrets: {{PEM: {{file: {pem}}}}}")
    trust = client_options(secure, {}, lambda verify: verify)["http_client"]
    assert isinstance(trust, ssl.SSLContext)
    assert trust.verify_mode == ssl.CERT_REQUIRED
    assert trust.cert_store_stats()["x509"] == 1
    assert client_options(secure, {"http_client": "mine"}, lambda verify: verify)["http_client"] == "mine"
    assert "http_client" not in client_options(opened(ONE), {}, httpx.Client)


def test_new_keys_differ() -> None:
    """And can stand in a header, a list and a shell."""
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) > 40 and key.replace("-", "").replace("_", "").isalnum() for key in made)
