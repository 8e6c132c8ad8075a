"""How the node ranks of a fake engine meet: each further one connects to the first, and both hold on to that.

As with real engines, none of them ends by the loss of another: the first goes on to answer /health, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from rayllm.testing.fake_openai.wire import log

RETRY_S = 0.1


@dataclass(frozen=True)
class Meeting:
    """Where the ranks of one engine meet, and which of them this is."""

    nodes: int
    rank: int
    host: str
    port: int

    async def lead(self, lost: Callable[[], None]) -> None:
        """Return when every other rank is there; `lost` is called when one has gone."""
        there: set[str] = set()
        complete = asyncio.Event()

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                there.add((await reader.readline()).decode().strip())
                if len(there) == self.nodes - 1:
                    complete.set()
                await reader.read()
            writer.close()
            lost()

        await asyncio.start_server(joined, self.host, self.port)
        log(f"fake engine: rank 0 waits for {self.nodes - 1} more on {self.host}:{self.port}")
        await complete.wait()

    async def follow(self) -> asyncio.StreamWriter:
        """Return the connection when the first rank is reached."""
        log(f"fake engine: rank {self.rank} looks for {self.host}:{self.port}")
        while True:
            try:
                _, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            writer.write(f"{self.rank}\n".encode())
            await writer.drain()
            log(f"fake engine: rank {self.rank} has joined")
            return writer
