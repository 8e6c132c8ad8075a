"""RayLLM from asynchronous Python: the methods of `RayLLM` as coroutines."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from rayllm.api import RayLLM, client_options, silent
from rayllm.errors import InputError

if TYPE_CHECKING:
    import builtins

    import openai

    from rayllm.backends import Progress
    from rayllm.config.schema import DeploymentConfig
    from rayllm.deployment.adapters import Adapter, Adapters
    from rayllm.deployment.chat import ChatPart
    from rayllm.deployment.keys import ApiKey, Keys, KeyUsage, NewKey
    from rayllm.deployment.nodes import Nodes
    from rayllm.deployment.plan import Plan
    from rayllm.deployment.preparing import Prepared
    from rayllm.deployment.session import Session
    from rayllm.deployment.status import ModelStatus, NodeStatus, Status
    from rayllm.plugins import Plugins
    from rayllm.sources import FetchProgress

Found = TypeVar("Found")


class Cancelled(BaseException):
    """Ends the thread of a call whose task was cancelled, at its next step, as Ctrl-C ends a command."""


class AsyncRayLLM:
    """One deployment, as its file describes it, for use in an event loop.

    ```python
    llm = AsyncRayLLM.from_file("rayllm.yaml")
    await llm.up()
    client = await llm.openai()
    answer = await client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "hi"}])
    await llm.down()
    ```

    What a method does, takes, returns and raises is what the method of `RayLLM` says. Calls may run at the same time.
    Cancelling one returns at once. What changes the cluster (`up`, `scale`, `down`) ends at its next step then; what
    was begun goes on in the cluster, as after Ctrl-C: see `status`, then `up` or `down`. `progress` is called in the
    loop. Who leaves `chat` or `logs` before their end closes them, as `contextlib.aclosing` does.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._llm = RayLLM(session)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str] = "rayllm.yaml",
        *,
        environ: Mapping[str, str] | None = None,
        plugins: Plugins | None = None,
        report: FetchProgress | None = None,
    ) -> AsyncRayLLM:
        """Read and check a file; not a coroutine, since it asks nobody."""
        return cls(RayLLM.from_file(path, environ=environ, plugins=plugins, report=report).session)

    @property
    def name(self) -> str:
        """The cluster's and the deployment's name."""
        return self._llm.name

    @property
    def config(self) -> DeploymentConfig:
        """The file as types; frozen."""
        return self._llm.config

    async def render(self) -> dict[str, Any]:
        """As `RayLLM.render`."""
        return await asyncio.to_thread(self._llm.render)

    async def plan(self) -> Plan:
        """As `RayLLM.plan`."""
        return await asyncio.to_thread(self._llm.plan)

    async def up(self, progress: Progress = silent, *, pull: bool = False) -> Status:
        """As `RayLLM.up`."""
        return await _stoppable(functools.partial(self._llm.up, pull=pull), progress)

    async def pull(
        self, models: Sequence[str] | None = None, progress: Progress = silent, *, weights: bool = True
    ) -> list[Prepared]:
        """As `RayLLM.pull`."""
        return await _stoppable(functools.partial(self._llm.pull, models, weights=weights), progress)

    async def status(self) -> Status:
        """As `RayLLM.status`."""
        return await asyncio.to_thread(self._llm.status)

    async def model_status(self, model: str) -> ModelStatus:
        """As `RayLLM.model_status`."""
        return await asyncio.to_thread(self._llm.model_status, model)

    async def scale(self, model: str, replicas: int, progress: Progress = silent) -> Status:
        """As `RayLLM.scale`."""
        return await _stoppable(functools.partial(self._llm.scale, model, replicas), progress)

    async def logs(
        self,
        model: str,
        replica: str | None = None,
        *,
        lines: int | None = None,
        follow: bool = False,
        last_start: bool = False,
    ) -> AsyncGenerator[str, None]:
        """As `RayLLM.logs`, as an asynchronous iterator: `async for text in llm.logs("smollm2", follow=True)`."""
        from rayllm.deployment.logs import find_log, lines_of, read_log_async

        log = await asyncio.to_thread(find_log, self.session, model, replica, last_start=last_start)
        count = lines_of(lines, last_start=last_start)
        async with aclosing(read_log_async(self.session, log, lines=count, follow=follow)) as texts:
            async for text in texts:
                yield text

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None = None,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> AsyncGenerator[ChatPart, None]:
        """As `RayLLM.chat`, as an asynchronous iterator."""
        from rayllm.deployment.chat import chat_async, question

        asked = await asyncio.to_thread(question, self.session, messages, model, max_tokens, temperature)
        async with aclosing(chat_async(asked, self.session)) as parts:
            async for part in parts:
                yield part

    async def openai(self, **options: Any) -> openai.AsyncOpenAI:
        """As `RayLLM.openai`, with OpenAI's asynchronous client."""
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError as error:
            raise InputError("the `openai` package is not installed", cure="pip install openai") from error
        return AsyncOpenAI(**await asyncio.to_thread(client_options, self.session, options, DefaultAsyncHttpxClient))

    @property
    def keys(self) -> AsyncKeys:
        """As `RayLLM.keys`, its methods as coroutines: `await llm.keys.add("alice")`."""
        return AsyncKeys(self._llm.keys)

    @property
    def adapters(self) -> AsyncAdapters:
        """As `RayLLM.adapters`, its methods as coroutines: `await llm.adapters.list()`."""
        return AsyncAdapters(self._llm.adapters)

    @property
    def nodes(self) -> AsyncNodes:
        """As `RayLLM.nodes`, its methods as coroutines: `await llm.nodes.list()`."""
        return AsyncNodes(self._llm.nodes)

    async def down(self, progress: Progress = silent) -> bool:
        """As `RayLLM.down`."""
        return await _stoppable(self._llm.down, progress)


class AsyncAdapters:
    """LoRA adapters, `AsyncRayLLM.adapters`: what a method does is what that of `RayLLM.adapters` says."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    async def list(self) -> builtins.list[Adapter]:
        """As `Adapters.list`."""
        return await asyncio.to_thread(self._adapters.list)

    async def add(self, name: str, source: str, *, model: str | None = None, progress: Progress = silent) -> Adapter:
        """As `Adapters.add`."""
        work = functools.partial(self._adapters.add, name, source, model=model)
        return await _stoppable(lambda told: work(progress=told), progress)

    async def remove(self, name: str, *, progress: Progress = silent) -> Adapter:
        """As `Adapters.remove`."""
        return await _stoppable(lambda told: self._adapters.remove(name, progress=told), progress)


class AsyncKeys:
    """The API keys of a deployment, `AsyncRayLLM.keys`: what a method does is what that of `RayLLM.keys` says."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def list(self) -> builtins.list[ApiKey]:
        """As `Keys.list`."""
        return await asyncio.to_thread(self._keys.list)

    async def add(
        self,
        name: str,
        *,
        models: Sequence[str] | None = None,
        expires_s: float | None = None,
        requests_per_minute: int | None = None,
        concurrent_requests: int | None = None,
        tokens_per_minute: int | None = None,
        tokens_per_day: int | None = None,
    ) -> NewKey:
        """As `Keys.add`."""
        return await asyncio.to_thread(
            self._keys.add,
            name,
            models=models,
            expires_s=expires_s,
            requests_per_minute=requests_per_minute,
            concurrent_requests=concurrent_requests,
            tokens_per_minute=tokens_per_minute,
            tokens_per_day=tokens_per_day,
        )

    async def rotate(self, name: str, *, grace_s: int = 0) -> NewKey:
        """As `Keys.rotate`."""
        return await asyncio.to_thread(self._keys.rotate, name, grace_s=grace_s)

    async def revoke(self, name: str) -> ApiKey:
        """As `Keys.revoke`."""
        return await asyncio.to_thread(self._keys.revoke, name)

    async def usage(self, name: str | None = None, *, days: int = 30) -> builtins.list[KeyUsage]:
        """As `Keys.usage`."""
        return await asyncio.to_thread(self._keys.usage, name, days=days)


class AsyncNodes:
    """The machines of a cluster, `AsyncRayLLM.nodes`: what a method does is what that of `RayLLM.nodes` says."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def list(self) -> builtins.list[NodeStatus]:
        """As `Nodes.list`."""
        return await asyncio.to_thread(self._nodes.list)

    async def scale(self, group: str, count: int, *, progress: Progress = silent) -> builtins.list[NodeStatus]:
        """As `Nodes.scale`."""
        return await _stoppable(lambda told: self._nodes.scale(group, count, progress=told), progress)

    async def logs(self, node: str, *, lines: int = 200) -> AsyncGenerator[str, None]:
        """As `Nodes.logs`, as an asynchronous iterator."""
        texts = self._nodes.logs(node, lines=lines)
        while (text := await asyncio.to_thread(next, texts, None)) is not None:
            yield text


async def _stoppable(work: Callable[[Progress], Found], progress: Progress) -> Found:
    """Run long work in a thread, which ends at its next step when this is cancelled."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def told(step: str, detail: str, *, done: bool = False) -> None:
        if stop.is_set():
            raise Cancelled
        loop.call_soon_threadsafe(functools.partial(progress, step, detail, done=done))

    try:
        return await asyncio.to_thread(work, told)
    except asyncio.CancelledError:
        stop.set()
        raise
