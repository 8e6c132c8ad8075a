"""The adapters of one replica: its engine is brought to hold what is wanted, and what it holds is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from rayllm.engines import Adapters
from rayllm.errors import RayllmError
from rayllm.faults import from_system
from rayllm.serving.adapters.fit import require_fit
from rayllm.serving.directory.state import AdapterReport
from rayllm.serving.engine.client import FAULTS, EngineClient
from rayllm.sources import FetchProgress

logger = logging.getLogger(__name__)
RETRY_S = 15.0
"""Pause before an adapter that failed is tried again: a hub comes back, a file is laid where it was missing."""
CHANGE_S = 600.0
"""Seconds for an engine to load an adapter, or to forget one that requests in flight still use."""
FIRST_ANSWER_S = 300.0
Told = dict[str, AdapterReport]


class Holding:
    """Loads and unloads, one at a time. What fails is told and tried again, and leaves the engine and the others alone.

    Args:
        engine: how the engine takes adapters.
        client: to the engine.
        model: the model's name.
        folder: the model's files.
        highest: the highest rank that the engine takes.
        fetch: from a source to a folder on this node; blocks, and says how far it is.
        tell: is told of every change: what each wanted adapter is doing; in a mapping that goes on to change.
    """

    def __init__(
        self,
        engine: Adapters,
        client: EngineClient,
        *,
        model: str,
        folder: Path,
        highest: int,
        fetch: Callable[[str, FetchProgress], Path],
        tell: Callable[[Told], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._client = client
        self._model = model
        self._folder = folder
        self._highest = highest
        self._fetch = fetch
        self._tell = tell
        self._wanted: dict[str, str] = {}
        self._held: dict[str, str] = {}
        """In the engine: by name, from which source."""
        self._told: Told = {}
        self._stuck: dict[str, float] = {}
        """When it was last tried in vain to unload one."""
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    def want(self, adapters: Mapping[str, str]) -> None:
        """Go for these, by name and source, from now on."""
        self._wanted = dict(adapters)
        for name in [name for name, told in self._told.items() if self._wanted.get(name) != told["source"]]:
            del self._told[name]
        self._settled.clear()
        self._changed.set()
        if self._work is None:
            self._work = asyncio.create_task(self._go())

    async def settled(self) -> None:
        """Return when each wanted adapter is loaded, or has failed once."""
        await self._settled.wait()

    def stop(self) -> None:
        """Leave the engine as it is."""
        if self._work:
            self._work.cancel()

    async def _go(self) -> None:
        while True:
            self._changed.clear()
            if step := self._next():
                await step
                continue
            await self._tell(self._told)
            self._settled.set()
            waiting = any(told["state"] == "failed" for told in self._told.values()) or self._stuck
            try:
                await asyncio.wait_for(self._changed.wait(), RETRY_S if waiting else None)
            except asyncio.TimeoutError:
                continue

    def _next(self) -> Awaitable[None] | None:
        """The next thing to do: what is no longer wanted makes room first."""
        late = time.time() - RETRY_S
        for name, source in self._held.items():
            if self._wanted.get(name) != source and self._stuck.get(name, 0.0) <= late:
                return self._unload(name)
        for name, source in self._wanted.items():
            told = self._told.get(name)
            if name not in self._held and (told is None or told["at"] <= late):
                return self._load(name, source)
        return None

    async def _unload(self, name: str) -> None:
        await self._tell(self._told)  # the gateways send it nothing more for this name
        try:
            await self._client.change(self._engine.unload, {"lora_name": name}, CHANGE_S)
        except RayllmError as problem:  # it does not know it
            logger.warning("the adapter %s was not loaded: %s", name, problem)
        except FAULTS as problem:
            logger.warning("the adapter %s could not be unloaded: %r", name, problem)
            self._stuck[name] = time.time()
            return
        del self._held[name]
        self._stuck.pop(name, None)

    async def _load(self, name: str, source: str) -> None:
        self._say(name, source, "loading")
        await self._tell(self._told)
        try:
            await self._try(name, source)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the other adapters and the model go on
            failed = _in_words(name, problem)
            logger.warning("the adapter %s can't be served: %r", name, problem)
            self._say(name, source, "failed", failed)
            if name in self._held or isinstance(problem, FAULTS):
                self._held[name] = ""  # what there is of it is unloaded before the next try
        else:
            self._say(name, source, "loaded")
        await self._tell(self._told)

    async def _try(self, name: str, source: str) -> None:
        def report(detail: str) -> None:
            self._say(name, source, "loading", detail=detail)

        folder = await asyncio.to_thread(self._fetch, source, report)
        await asyncio.to_thread(require_fit, folder, self._folder, self._engine, self._highest)
        await self._client.change(self._engine.load, {"lora_name": name, "lora_path": str(folder)}, CHANGE_S)
        self._held[name] = source
        if name not in (names := await self._client.served_models()):
            raise RayllmError(f"the engine took the adapter, and lists {', '.join(names)} alone", topic="adapters")
        called = self._engine.called.format(model=self._model, adapter=name)
        await self._client.try_one_token(called, FIRST_ANSWER_S)

    def _say(self, name: str, source: str, state: str, problem: RayllmError | None = None, detail: str = "") -> None:
        if self._wanted.get(name) != source:
            return  # it was given up meanwhile
        self._told[name] = AdapterReport(
            source=source,
            state=state,
            message=problem.message if problem else detail,
            cause=problem.cause or "" if problem else "",
            cure=problem.cure or "" if problem else "",
            at=time.time(),
        )


def _in_words(name: str, problem: Exception) -> RayllmError:
    if isinstance(problem, RayllmError):
        return problem
    if isinstance(problem, FAULTS):
        return RayllmError(f"the engine did not answer for the adapter {name}: {problem!r}", topic="adapters")
    if isinstance(problem, OSError):
        return from_system(problem)
    return RayllmError(f"{type(problem).__name__}: {problem}", topic="bug")
