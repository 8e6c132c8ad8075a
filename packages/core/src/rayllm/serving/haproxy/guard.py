"""A replica's guard: the only way from another machine to its engine, which listens on its own loopback alone.

A small HAProxy that asks for the model's internal key, whatever the path, and passes everything else on as it comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.paths import run
from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.binary import binary
from rayllm.serving.haproxy.text import address, check_host, check_port, section
from rayllm.serving.processes.supervised import Supervised
from rayllm.serving.spec import INTERNAL_KEY_HEADER

ABSENT = 425
"""What the gateway is told when the engine took no connection: that nobody has begun with the request, as a refused
connection tells where there is no guard. No engine answers so."""
_BUFFER = 64 * 1024
"""Bytes; more than the headers that the gateway lets pass."""
_START_S = 10.0
_ABSENT_FILE = "absent.http"
_CONFIG_FILE = "guard.cfg"


def files(host: str, port: int, engine_port: int, key: str) -> dict[str, str]:
    """What HAProxy reads at its start; of the key it holds the digest alone.

    Args:
        host: address to listen on.
        port: port to listen on.
        engine_port: the engine's port on 127.0.0.1.
        key: the model's internal key.

    Raises:
        ValueError: a value that can't stand in a configuration file.
    """
    check_host(host)
    check_port(port)
    check_port(engine_port)
    sections = [section("global", _global()), section("defaults", _defaults())]
    sections.append(section("frontend guard", _frontend(address(host, port), key)))
    sections.append(section("backend engine", iter([f"server engine {address('127.0.0.1', engine_port)}"])))
    body = OpenAiError(ABSENT, "the engine does not take connections", "engine_unavailable").body()
    lines = [f"HTTP/1.1 {ABSENT} Too Early", "content-type: application/json", f"content-length: {len(body)}", "", body]
    return {_CONFIG_FILE: "\n".join(sections), _ABSENT_FILE: "\r\n".join(lines)}


def _global() -> Iterator[str]:
    yield "nbthread 1"
    yield "fd-hard-limit 40000"
    yield f"tune.bufsize {_BUFFER}"


def _defaults() -> Iterator[str]:
    yield "mode http"
    yield "timeout http-request 10s"
    yield "timeout http-keep-alive 10m"  # the gateway is the one that closes what it does not need
    yield "timeout connect 2s"
    yield "timeout client 1h"
    yield "timeout server 1h"
    yield "timeout tunnel 1h"
    yield "option http-no-delay"
    yield "option abortonclose"
    yield "retries 0"
    yield f"errorfile 503 {_ABSENT_FILE}"


def _frontend(listen: str, key: str) -> Iterator[str]:
    digest = hashlib.sha256(key.encode()).hexdigest().upper()
    closed = OpenAiError(403, "this address is for RayLLM's gateway; use the gateway's", "forbidden")
    yield f"bind {listen}"
    yield f"http-request return {closed.answer()} unless {{ req.fhdr({INTERNAL_KEY_HEADER}),sha2(256),hex {digest} }}"
    yield f"http-request del-header {INTERNAL_KEY_HEADER}"
    yield "default_backend engine"


class Guard:
    """One guard that runs. Methods block.

    Args:
        host: address to listen on.
        port: port to listen on.
        engine_port: the engine's port on 127.0.0.1.
        key: the model's internal key.
        log: file that HAProxy's messages are appended to.
        marker: whose process it is, as for `Supervised`.

    Raises:
        ClusterError: there is no HAProxy, or it does not start; its own words are the cause.
    """

    def __init__(self, host: str, port: int, engine_port: int, key: str, *, log: Path, marker: str) -> None:
        self.address = (host, port)
        self._files = files(host, port, engine_port, key)
        self._log = log
        self._marker = marker
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def revive(self) -> bool:
        """Start it again where it has ended; True if it had.

        Raises:
            ClusterError: it does not start.
        """
        if self._process.poll() is None:
            return False
        self._process.stop(0)
        self._process = self._start()
        return True

    def stop(self) -> None:
        """End it."""
        self._process.stop(0)

    def _start(self) -> Supervised:
        program = binary()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        before = self._log.stat().st_size if self._log.exists() else 0
        # HAProxy reads its files once: nothing has to stay, and nothing is left behind by a replica that is killed.
        place = run()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            for name, text in self._files.items():
                Path(folder, name).write_bytes(text.encode())
            process = Supervised.start(
                [program, "-db", "-f", _CONFIG_FILE],
                env={"PATH": os.defpath},
                log=self._log,
                marker=self._marker,
                cwd=Path(folder),
            )
            end = time.monotonic() + _START_S
            while not self._listens():
                if process.poll() is not None or time.monotonic() > end:
                    process.stop(0)
                    said = self._log.read_bytes()[before:].decode(errors="replace")
                    raise ClusterError(
                        "the replica's guard does not start", cause=said.strip() or None, topic="gateway"
                    )
                time.sleep(0.02)
        return process

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=1):
            return True
        return False
