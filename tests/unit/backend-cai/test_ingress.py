"""How applications are reached from outside."""

from __future__ import annotations

import asyncio
import itertools
import json

import aiohttp
import httpx
import pytest
from tests.cai import Cai
from tests.conftest import until

STREAMS = """
import http.server, os, pathlib, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        if self.path == "/long":
            self.send_header("content-length", "1000")
        self.end_headers()
        if self.path != "/":
            self.wfile.write(b"data: first\\n\\n")
            self.wfile.flush()
            while not pathlib.Path("go-on").exists():
                time.sleep(0.02)
            self.wfile.write(b"data: second\\n\\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(201, "Made")
        self.send_header("x-mine", "yes")
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["CDSW_APP_PORT"])), Handler).serve_forever()
"""
ECHO = """
import os
from aiohttp import web

async def hear(request):
    if "upgrade" not in request.headers:
        return web.Response(text="up")
    socket = web.WebSocketResponse(protocols=["mine"])
    await socket.prepare(request)
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4001)
        elif message.type == aiohttp.WSMsgType.TEXT:
            await socket.send_str(request.headers["remote-user"] + " " + message.data)
        else:
            await socket.send_bytes(message.data[::-1])
    return socket

import aiohttp
app = web.Application()
app.router.add_get("/{path:.*}", hear)
runner = web.AppRunner(app)
await runner.setup()
await web.TCPSite(runner, "127.0.0.1", int(os.environ["CDSW_APP_PORT"])).start()
import asyncio
await asyncio.Event().wait()
"""


def test_the_login_stands_before_it(cai: Cai) -> None:
    """A redirect to a page of HTML; a key for applications is let through and taken away."""
    cai.start()
    for key in ("", "made-up", cai.fake.add_key("API")):
        answer = cai.browse("app", "/v1/models?x=1", key=key)
        assert answer.status_code == 302
        assert "/login?next=" in answer.headers["location"]
    assert "text/html" in httpx.get(f"{cai.fake.url}/login").headers["content-type"]
    more = {"x-api-key": "ours", "x-ray-authorization": "Bearer ray", "remote-user": "admin", "connection": "x-hop"}
    told = json.loads(cai.browse("app", "/a%2Fb?x=1", key=cai.fake.key, **more, **{"x-hop": "1"}).text)
    assert told["path"] == "/a%2Fb?x=1"
    seen = {name.lower(): value for name, value in told["headers"].items()}
    assert "authorization" not in seen
    assert "x-hop" not in seen
    assert (seen["x-api-key"], seen["x-ray-authorization"]) == ("ours", "Bearer ray")
    assert (seen["remote-user"], seen["host"]) == ("u1", "app.localhost")


def test_as_a_proxy(cai: Cai) -> None:
    """For programs whose resolver does not know `*.localhost`."""
    cai.start()
    url = cai.fake.url.replace("localhost", "app.localhost")
    with httpx.Client(proxy=cai.fake.url, headers={"authorization": f"Bearer {cai.fake.key}"}, timeout=20) as client:
        assert client.get(f"{url}/a%2Fb?x=1").json()["path"] == "/a%2Fb?x=1"
        assert client.get(f"{cai.fake.url}/api/v2/nodelabels").json()["accelerator_node_label"]


def test_without_login(cai: Cai) -> None:
    """Where its owner and the administrator will have it so; then nobody is known, and what was sent stays."""
    cai.start(bypass_authentication=True)
    told = json.loads(cai.browse("app", key="ours", **{"remote-user": "admin"}).text)["headers"]
    seen = {name.lower(): value for name, value in told.items()}
    assert seen["authorization"] == "Bearer ours"
    assert "remote-user" not in seen
    cai.settings.public_applications = False
    assert cai.browse("app", key="ours").status_code == 302


def test_nothing_listens(cai: Cai) -> None:
    """502 with nothing in it, before, on a port that is not routed, and after; 404 where nothing was ever."""
    cai.start(script="wait.py", status="starting")
    answer = cai.browse("app", key=cai.fake.key)
    assert (answer.status_code, answer.content) == (502, b"")
    cai.start("elsewhere", environment={"LISTEN_ON": "OTHER", "OTHER": "28123"}, status="starting")
    assert cai.browse("elsewhere", key=cai.fake.key).status_code == 502
    assert cai.browse("never", key=cai.fake.key).status_code == 404


def test_where_it_may_listen(cai: Cai) -> None:
    """On each of its three ports, for all addresses or for loopback."""
    places = itertools.product(("CDSW_APP_PORT", "CDSW_READONLY_PORT", "CDSW_PUBLIC_PORT"), ("127.0.0.1", "0.0.0.0"))  # noqa: S104
    made = [
        cai.start(f"app-{number}", status="starting", environment={"LISTEN_ON": port, "LISTEN_AT": at})
        for number, (port, at) in enumerate(places)
    ]
    for one in made:
        cai.wait(one, "running")
        assert cai.browse(one.subdomain, key=cai.fake.key).status_code == 200


def test_the_platform_holds_its_port(cai: Cai) -> None:
    """Binding it fails; the next one is served."""
    cai.settings.app_port_held = True
    cai.start("first", status="failed")
    assert "Address already in use" in cai.fake.log("first")
    cai.start("second", environment={"LISTEN_ON": "CDSW_READONLY_PORT"})
    assert cai.browse("second", key=cai.fake.key).status_code == 200


def test_the_ports_as_they_are_there(cai: Cai) -> None:
    """8100 for all, each at its own address."""
    cai.settings.own_ports = False
    cai.write(
        at_pod="import os\nos.environ['LISTEN_AT'] = os.environ['CDSW_IP_ADDRESS']\nexec(open('server.py').read())"
    )
    for name in ("third", "fourth"):
        cai.start(name, script="at_pod.py")
        env = json.loads(cai.browse(name, key=cai.fake.key).text)["env"]
        assert env["CDSW_APP_PORT"] == "8100"
        assert env["CDSW_IP_ADDRESS"] == cai.fake.pod(name).address


def test_events_come_as_they_are_made(cai: Cai) -> None:
    """The first is here while the second is not made yet; bodies and statuses pass as they are."""
    cai.write(streams=STREAMS)
    cai.start(script="streams.py")
    headers = {"host": "app.localhost", "authorization": f"Bearer {cai.fake.key}"}
    with httpx.stream("GET", f"{cai.fake.url}/events", headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        (cai.fake.folder(cai.project) / "go-on").touch()
        assert [line for line in lines if line] == ["data: second"]
    body = bytes(range(256)) * 4096
    posted = httpx.post(f"{cai.fake.url}/x", headers=headers, content=body)
    assert (posted.status_code, posted.reason_phrase, posted.headers["x-mine"]) == (201, "Made", "yes")
    assert posted.content == body[::-1]


def test_an_answer_that_breaks_off(cai: Cai) -> None:
    """It is not taken for a whole one."""
    cai.write(streams=STREAMS)
    cai.start(script="streams.py")
    headers = {"host": "app.localhost", "authorization": f"Bearer {cai.fake.key}"}
    with httpx.stream("GET", f"{cai.fake.url}/long", headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        cai.fake.pod("app").kill()
        with pytest.raises(httpx.HTTPError):
            list(lines)
    until("it has failed", lambda: cai.fake.workloads("app")[0].finished, 20)


def test_a_websocket(cai: Cai) -> None:
    """Both ways, text and bytes, protocol and close code."""
    cai.write(echo=ECHO)
    cai.start(script="echo.py")

    async def talk() -> None:
        headers = {"host": "app.localhost", "authorization": f"Bearer {cai.fake.key}"}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{cai.fake.url}/socket", headers=headers, protocols=("mine",)) as socket,
        ):
            assert socket.protocol == "mine"
            await socket.send_str("hello")
            assert await socket.receive_str() == "u1 hello"
            await socket.send_bytes(b"\x00\x01")
            assert await socket.receive_bytes() == b"\x01\x00"
            await socket.send_str("bye")
            closed = await socket.receive()
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4001)

    asyncio.run(asyncio.wait_for(talk(), 20))
