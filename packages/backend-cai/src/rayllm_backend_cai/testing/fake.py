"""A workspace in a thread: what tests and `python -m rayllm_backend_cai.testing` start."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from rayllm_backend_cai.testing import api, projects, replies
from rayllm_backend_cai.testing.api import Asked
from rayllm_backend_cai.testing.clock import Clock
from rayllm_backend_cai.testing.faults import Fault, Faults
from rayllm_backend_cai.testing.pods import Pod
from rayllm_backend_cai.testing.settings import Settings
from rayllm_backend_cai.testing.world import IMAGE, Key, Workload, World
from rayllm_backend_cai.workspace import Workspace

Result = TypeVar("Result")
LOOPBACK = "127.0.0.1"


class FakeCai:
    """A workspace on loopback. Use it as a context manager: at its end every process of it is gone.

    Args:
        settings: how it behaves; may be changed meanwhile.
        port: where it listens; 0 for a free one.
        root: folder for shared disks and logs; a temporary one that goes with the fake if left out.
        domain: its name; applications are at `SUBDOMAIN.DOMAIN:PORT`.
        key: the first API key, made up if left out.
        faults: those that are due from the start.
    """

    image = IMAGE
    """A runtime that is there."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        port: int = 0,
        root: Path | None = None,
        domain: str = "localhost",
        key: str = "",
        faults: Iterable[Fault] = (),
    ) -> None:
        self._temporary = root is None
        self._port = port
        self._domain = domain
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-cai", daemon=True)
        folder = Path(tempfile.mkdtemp(prefix="fake-cai-")) if root is None else root.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._world = World(settings or Settings(), folder)
        self._world.faults.add(*faults)
        self._app = api.application(self._world)
        # without decompression: the ingress passes bodies on as they are
        self._runner = web.AppRunner(self._app, auto_decompress=False, shutdown_timeout=1.0, access_log=None)
        self.key = self.add_key(key=key)

    def __enter__(self) -> FakeCai:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._world.close())
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._temporary:
            shutil.rmtree(self._world.root, ignore_errors=True)
        if self._world.crashes:
            raise RuntimeError("the stand-in itself failed") from self._world.crashes[0]

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return self._world.settings

    @property
    def clock(self) -> Clock:
        """Its time."""
        return self._world.clock

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self._world.faults

    @property
    def url(self) -> str:
        """The workspace's address."""
        return f"http://{self._world.domain}"

    @property
    def workspace(self) -> Workspace:
        """What the client opens it with."""
        return Workspace(url=self.url, key=self.key)

    @property
    def calls(self) -> list[Asked]:
        """Every request to the API so far."""
        calls = self._app[api.CALLS]
        return calls.copy()

    @property
    def root(self) -> Path:
        """Where shared disks (`projects/ID`) and logs (`logs/ENGINE.log`) are."""
        return self._world.root

    def add_key(self, *audiences: str, username: str = "u1", key: str = "") -> str:
        """A further API key, by default for both audiences."""
        key = key or replies.key()
        self._world.keys[key] = Key(username, frozenset(audiences or ("API", "Application")))
        return key

    def revoke(self, key: str) -> None:
        """End a key."""
        self._world.keys.pop(key, None)

    def add_runtime(self, row: dict[str, Any]) -> None:
        """A further runtime, as the API shows it."""
        self._world.runtimes.append(row)

    def add_project(self, name: str, files: dict[str, str] | None = None) -> str:
        """A project that is there already, with files by path; returns its id."""

        async def make() -> str:
            project = projects.create(self._world, {"name": name})
            project.row["creation_status"] = "success"
            return str(project.row["id"])

        project = self._run(make())
        for path, text in (files or {}).items():
            place = self.folder(project) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return project

    def folder(self, project: str) -> Path:
        """A project's shared disk."""
        return self._world.project(project).folder

    def workloads(self, name: str = "") -> list[Workload]:
        """All that were started, or those of an application or job; the newest last."""
        return [one for one in list(self._world.workloads) if name in {"", one.name}]

    def pod(self, name: str) -> Pod:
        """The newest pod of an application or job.

        Raises:
            LookupError: it has none.
        """
        found = self.workloads(name)
        if not found:
            raise LookupError(f"nothing called {name} was started")
        return found[-1].pod

    def log(self, name: str) -> str:
        """What its newest pod has printed; the API does not tell."""
        log = self.pod(name).log
        return log.read_text(errors="replace") if log.exists() else ""

    async def _listen(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, self._port)
        await site.start()
        self._world.domain = f"{self._domain}:{self._runner.addresses[0][1]}"

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
