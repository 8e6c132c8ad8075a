"""Gateways of one deployment that follow each other on its port, as when an update rolls out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, ModelRoute

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
