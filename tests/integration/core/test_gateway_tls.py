"""HTTPS and HTTP/2: real HAProxy, a certificate that signs itself, a client that knows HTTP/2."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from tests.certificates import FIRST, SECOND

from rayllm.backends import Cluster
from rayllm.cluster.admin_api import AdminApi
from rayllm.cluster.connection import connect
from rayllm.config.certificate import certificate_of
from rayllm.serving.haproxy.view import GatewayView, KeyRule, ModelRoute

CHAT = "/v1/chat/completions"


@pytest.fixture
def secure(gateway: Any, upstream: Any) -> tuple[GatewayView, Any, str]:
    """A gateway with a certificate: its view, its engine, and the file's text."""
    engine, text = upstream("a1"), FIRST
    view = replace(gateway.view(ModelRoute("a", "k", (engine.route,))), tls=text)
    gateway.haproxy.start(view)
    return view, engine, text


def trusting(text: str) -> ssl.SSLContext:
    """What a client does with SSL_CERT_FILE: it trusts this as an authority, and wants the name to be right."""
    return ssl.create_default_context(cadata=certificate_of(text))


@pytest.mark.parametrize("http2", [False, True])
def test_https(gateway: Any, secure: Any, http2: bool) -> None:
    """Both versions of HTTP, by what the client offers; a stream arrives piece by piece."""
    _, engine, text = secure
    with (
        httpx.Client(base_url=f"https://127.0.0.1:{gateway.port}", verify=trusting(text), http2=http2) as client,
        client.stream("POST", CHAT, json={"model": "a", "stream": True}) as answer,
    ):
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
        chunks = answer.iter_raw()
        assert next(chunks) == b"data: one\n\n"
        engine.gate.set()
        assert b"".join(chunks) == b"data: two\n\n"
        assert client.post(CHAT, json={"model": "b"}).json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("http2", [False, True])
def test_keys_over_https(gateway: Any, secure: Any, http2: bool) -> None:
    """They are asked for, good and counted as over plain HTTP; the engine never sees them."""
    view, engine, text = secure
    key = KeyRule("one", (hashlib.sha256(b"secret").hexdigest().upper(),), requests_per_minute=3)
    gateway.haproxy.apply(replace(view, keys=(key,), keys_required=True))
    with httpx.Client(base_url=f"https://127.0.0.1:{gateway.port}", verify=trusting(text), http2=http2) as client:
        sent = [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer secret"}, *[{"x-api-key": "secret"}] * 3]
        codes = [client.post(CHAT, json={"model": "a"}, headers=headers).status_code for headers in sent]
    assert codes == [401, 401, 200, 200, 200, 429]
    assert not any("secret" in str(seen.headers) for seen in engine.seen)


def test_many_at_once_over_one_connection(gateway: Any, secure: Any) -> None:
    """HTTP/2 carries a stream and other requests side by side."""
    _, engine, text = secure

    async def several() -> None:
        async with (
            httpx.AsyncClient(
                base_url=f"https://127.0.0.1:{gateway.port}",
                verify=trusting(text),
                http2=True,
                limits=httpx.Limits(max_connections=1),
            ) as client,
            client.stream("POST", CHAT, json={"model": "a", "stream": True}) as stream,
        ):
            chunks = stream.aiter_raw()
            assert await anext(chunks) == b"data: one\n\n"
            answers = await asyncio.gather(*(client.post(CHAT, json={"model": "a"}) for _ in range(32)))
            assert [answer.json()["by"] for answer in answers] == ["a1"] * 32
            engine.gate.set()
            assert [chunk async for chunk in chunks] == [b"data: two\n\n"]

    asyncio.run(several())


def test_http2_without_tls(gateway: Any, upstream: Any) -> None:
    """A client that knows beforehand may speak it on the plain port, too."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (upstream("a1").route,))))
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", http1=False, http2=True) as client:
        answer = client.post(CHAT, json={"model": "a"})
        assert (answer.http_version, answer.json()) == ("HTTP/2", {"by": "a1", "model": "a"})


def test_a_stream_that_is_reset(gateway: Any, secure: Any) -> None:
    """A client that wants no more of one stream says so, and keeps the connection: the engine learns of it."""
    _, engine, text = secure
    context = trusting(text)
    context.set_alpn_protocols(["h2"])
    body = json.dumps({"model": "a", "slow": True}).encode()
    asked = {":method": "POST", ":path": CHAT, ":scheme": "https", ":authority": "x", "content-length": str(len(body))}
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        connection = H2Connection()
        connection.initiate_connection()
        connection.send_headers(1, list(asked.items()))
        connection.send_data(1, body, end_stream=True)
        line.sendall(connection.data_to_send())
        gateway.until(lambda: engine.seen)
        connection.reset_stream(1, ErrorCodes.CANCEL)
        line.sendall(connection.data_to_send())
        assert engine.gone.wait(10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(gateway: Any, secure: Any, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3."""
    context = trusting(secure[2])
    context.minimum_version = context.maximum_version = version
    assert httpx.get(f"https://127.0.0.1:{gateway.port}/health", verify=context).status_code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_version_is_refused(gateway: Any, secure: Any) -> None:
    """Nothing below TLS 1.2."""
    context = trusting(secure[2])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://127.0.0.1:{gateway.port}/health", verify=context)


def test_plain_http_on_the_secure_port(gateway: Any, secure: Any) -> None:
    """Is not answered: a key that was sent this way would be readable by all."""
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{gateway.port}/health")


def test_rayllms_own_side_knows_the_certificate(gateway: Any, secure: Any) -> None:
    """Whatever name and authority stand in it, and no other one."""
    url = f"https://localhost:{gateway.port}"
    own = certificate_of(secure[2])
    assert "PRIVATE" not in own
    with connect(url, {}, timeout_s=10, certificate=own) as client:
        assert client.get("/health").status_code == 200
    with (
        connect(url, {}, timeout_s=10, certificate=certificate_of(SECOND)) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get("/health")
    admin = AdminApi(Cluster(name="x", dashboard_url="", gateway_url=url, certificate=own))
    assert admin.state() is None  # it is reached, and not running here
    admin.close()


def test_a_new_certificate_cuts_nothing(gateway: Any, secure: Any) -> None:
    """A stream goes on over the old one, while new connections get the new one."""
    view, engine, text = secure
    base = f"https://127.0.0.1:{gateway.port}"
    with (
        httpx.Client(base_url=base, verify=trusting(text)) as client,
        client.stream("POST", CHAT, json={"model": "a", "stream": True}) as stream,
    ):
        chunks = stream.iter_raw()
        assert next(chunks) == b"data: one\n\n"
        gateway.haproxy.apply(replace(view, tls=SECOND))
        assert httpx.get(f"{base}/health", verify=trusting(SECOND)).status_code == 200
        engine.gate.set()
        assert b"".join(chunks) == b"data: two\n\n"


def test_the_key_is_closed_to_others(gateway: Any, secure: Any) -> None:
    """Its file is this user's alone, and neither the configuration nor a view that is shown holds it."""
    view, _, text = secure
    (file,) = [path for path in Path(view.run_dir).iterdir() if path.is_file() and path.read_bytes() == text.encode()]
    assert file.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(view) + gateway.log.read_text()
