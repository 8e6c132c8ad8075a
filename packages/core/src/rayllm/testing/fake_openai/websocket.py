"""A WebSocket that says back what it hears."""

from __future__ import annotations

import asyncio
import base64
import hashlib

from rayllm.testing.fake_openai.wire import Failure, Request, send

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10
_SHORT, _LONG = 126, 127
"""Lengths that stand for: two bytes of length follow, eight do."""


async def echo(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the handshake, then every message with itself, until the client closes."""
    key = request.headers.get("sec-websocket-key")
    if key is None or request.headers.get("upgrade", "").lower() != "websocket":
        raise Failure(426, "this path is a WebSocket's", "UpgradeRequired")
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    await send(writer, "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode())
    code = 0
    while code != _CLOSE:
        first, data = await _read_frame(reader)
        code = first & 15
        await _send_frame(writer, first - _PING + _PONG if code == _PING else first, data)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    length = second & 127
    if length >= _SHORT:
        length = int.from_bytes(await reader.readexactly(2 if length == _SHORT else 8), "big")
    mask = await reader.readexactly(4) if second & 128 else bytes(4)
    data = await reader.readexactly(length)
    return first, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


async def _send_frame(writer: asyncio.StreamWriter, first: int, data: bytes) -> None:
    size = len(data)
    if size < _SHORT:
        length = bytes([size])
    elif size < 1 << 16:
        length = bytes([_SHORT]) + size.to_bytes(2, "big")
    else:
        length = bytes([_LONG]) + size.to_bytes(8, "big")
    await send(writer, bytes([first]) + length + data)
