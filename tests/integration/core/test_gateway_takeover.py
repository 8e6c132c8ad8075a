"""Gateways of one deployment that follow each other on its port, as when an update rolls out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, KeyRule, ModelRoute

CHAT = "/v1/chat/completions"
_UPDATES = 6
_CLIENTS = 8


def test_updates_lose_no_request(gateway: Any, upstream: Any, tmp_path: Path) -> None:
    """Nobody who connects while one listener follows another is refused, cut off or told to come again."""
    routes = (ModelRoute("a", "k", (upstream("a1").route,)),)
    gateway.haproxy.start(gateway.view(*routes))
    over = Event()

    def asked() -> Iterator[object]:
        while not over.is_set():
            try:
                yield gateway.ask("POST", CHAT, {"model": "a"})[0]
            except (HTTPException, OSError) as error:
                yield repr(error)

    serving, folder = gateway.haproxy, gateway.run_dir
    with ThreadPoolExecutor(_CLIENTS) as pool:
        clients = [pool.submit(lambda: list(asked())) for _ in range(_CLIENTS)]
        try:
            for number in range(_UPDATES):
                successor = HAProxy(tmp_path / f"{number}.log", tmp_path / f"{number}-access.log")
                place = tmp_path / f"next{number}"
                successor.start(GatewayView(gateway.deployment, "127.0.0.1", gateway.port, 1, routes, place))
                serving.stop(10)
                shutil.rmtree(folder)
                serving, folder = successor, place
        finally:
            over.set()
    answers = [answer for client in clients for answer in client.result()]
    serving.stop(0)
    assert set(answers) == {200}
    assert len(answers) > _UPDATES * _CLIENTS


def test_an_update_begins_no_count_anew(gateway: Any, upstream: Any, tmp_path: Path) -> None:
    """What a key has asked for in this minute counts at the next gateway, too."""
    keys = (KeyRule("team", (sha256(b"secret").hexdigest().upper(),), requests_per_minute=5),)
    view = replace(gateway.view(ModelRoute("a", "k", (upstream("a1").route,))), keys=keys)
    gateway.haproxy.start(view)

    def asked(times: int) -> list[int]:
        return [gateway.ask("POST", CHAT, {"model": "a"}, x_api_key="secret")[0] for _ in range(times)]

    assert asked(4) == [200] * 4
    successor = HAProxy(tmp_path / "next.log", tmp_path / "next-access.log")
    successor.start(replace(view, run_dir=tmp_path / "next"))
    try:
        gateway.haproxy.stop(10)
        assert asked(3) == [200, 429, 429]
    finally:
        successor.stop(0)
