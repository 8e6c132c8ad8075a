"""The gateway's Serve application: keeps HAProxy running and its configuration true."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from typing import Any

import ray
from ray import serve

from rayllm.errors import ClusterError, RayllmError
from rayllm.faults import in_words
from rayllm.serving import where
from rayllm.serving.accounting import Accounting
from rayllm.serving.admin import AdminApi
from rayllm.serving.admin_keys import KeysApi
from rayllm.serving.directory.actor import directory
from rayllm.serving.directory.state import Snapshot
from rayllm.serving.gateway_view import address_of, certificate, view_of
from rayllm.serving.haproxy.ingress import Ingress
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, KeyRule
from rayllm.serving.kept_code import keep
from rayllm.serving.keys import ray_token
from rayllm.serving.records.database import place_of
from rayllm.serving.records.key_record import known_to_haproxy
from rayllm.serving.records.keys import KeyStore
from rayllm.serving.run_dir import RunDir
from rayllm.serving.spec import GATEWAY_DEPLOYMENT, STARTS, GatewaySettings, GatewaySpec

logger = logging.getLogger(__name__)
POLL_S = 5.0
"""How long one long poll of the directory lasts."""
ALIVE_S = 0.5
DEATHS, DEATHS_S = 5, 60.0
"""More deaths of HAProxy within this time, and Serve is told that something is wrong."""


class Gateway:
    """One per deployment, on the head node."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        self.spec = GatewaySpec.from_args(args)
        self._id = uuid.uuid4().hex[:8]
        self._settings = GatewaySettings(models={})
        self._tls: str | None = None
        self._refused: str | None = None
        self._snapshot: Snapshot | None = None
        self._problem: RayllmError | None = None
        self._deaths: list[float] = []
        self._network = where.network_id()
        with in_words():
            self._ingress = Ingress.told(os.environ)
            self._run_dir = RunDir(self.spec.deployment, *address_of(self.spec, self._ingress))
        self._directory = directory()
        with in_words():
            self._keys = KeyStore(place_of(self.spec.deployment), known_to_haproxy(self._run_dir.path))
        logs = where.ray_logs() / where.LOG_FOLDER
        logs.mkdir(parents=True, exist_ok=True)
        access = logs / f"{self.spec.deployment}--access.log"
        self._accounting = accounts = Accounting(access, place_of(self.spec.deployment), self._run_dir.path)
        routes = [*KeysApi(self._keys, self._apply).routes(), *accounts.routes()]
        self._admin = AdminApi(self.spec.deployment, self._directory, ray_token(), routes)
        await self._admin.start(self._run_dir.path / "admin.sock")
        log = logs / f"{self.spec.deployment}--gateway.log"
        self._haproxy = HAProxy(log, access, self._run_dir.keeping, where.raylet_pid(), accounts.recent_requests)
        self._applying = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve calls this with the models of the deployment, right after the start and whenever they change.

        HAProxy starts here: without the models it would answer that there are none, and no client asks a second time.
        One that runs already goes on with the replicas it knows until the directory has told who there is.
        """
        self._settings = GatewaySettings.from_user_config(user_config)
        with in_words():
            self._tls = certificate(self._settings)
            await self._apply()
        if not self._tasks:
            accounts = self._accounting.follow(self._rules, self._apply)
            self._tasks = [asyncio.create_task(task) for task in (self._follow(), self._keep_alive(), accounts)]
        if self._keeping:
            self._keeping.cancel()
        self._keeping = asyncio.create_task(keep(self._settings.code))

    async def check_health(self) -> None:
        """Serve asks every few seconds.

        Raises:
            RayllmError: HAProxy could not be started again, refused its configuration, or dies again and again.
        """
        if self._problem:
            raise self._problem
        self._deaths = [died for died in self._deaths if died > time.monotonic() - DEATHS_S]
        if len(self._deaths) > DEATHS:
            raise ClusterError(f"HAProxy ended {len(self._deaths)} times within {DEATHS_S:g} s", topic="gateway")

    async def __del__(self) -> None:
        """Stop listening; streams in flight are HAProxy's to finish within its grace."""
        for task in (*self._tasks, *([self._keeping] if self._keeping else [])):
            task.cancel()
        await asyncio.to_thread(self._haproxy.stop)
        await self._admin.stop()
        self._accounting.close()
        self._keys.close()
        self._run_dir.remove()

    def _rules(self) -> tuple[KeyRule, ...]:
        return self._keys.rules(self._settings.aliases, self._accounting.spent)

    def _view(self) -> GatewayView:
        keys = self._rules()
        return view_of(
            self.spec,
            self._settings,
            self._snapshot,
            self._network,
            run_dir=self._run_dir.path,
            keys=keys,
            ingress=self._ingress,
            tls=self._tls,
        )

    async def _apply(self) -> None:
        if self._haproxy.adopted and self._snapshot is None:
            return  # it knows more than we do; `_follow` applies as soon as the directory has answered
        async with self._applying:
            await asyncio.to_thread(self._haproxy.apply, self._view())

    async def _follow(self) -> None:
        version = 0
        while True:
            try:
                snapshot = await self._directory.watch.remote(self._id, self.spec.deployment, version, POLL_S)
                if not self._is_early(snapshot):
                    self._snapshot = snapshot
                    await self._apply()
                    await self._renew_certificate()
                    version = snapshot["version"]
                else:
                    await asyncio.sleep(ALIVE_S)
            except ray.exceptions.RayActorError as gone:
                logger.warning("the directory did not answer, routing stays as it is: %s", gone)
                self._directory = directory()
                await asyncio.sleep(ALIVE_S)
            except OSError:  # a full disk: routing stays as it is until there is room
                logger.exception("HAProxy's configuration could not be written")
                await asyncio.sleep(ALIVE_S)
            except RayllmError as problem:
                logger.exception("HAProxy refused its configuration")
                self._problem = problem
                return

    async def _renew_certificate(self) -> None:
        """Serve the certificate that the node has now; one that HAProxy refuses is told of once, the old one stays."""
        try:
            found = await asyncio.to_thread(certificate, self._settings)
        except RayllmError:  # gone, perhaps to come back in a moment
            return
        if found in {self._tls, self._refused}:
            return
        before, self._tls = self._tls, found
        try:
            await self._apply()
        except RayllmError:
            self._tls, self._refused = before, found
            logger.exception("HAProxy refused the gateway's new certificate")

    def _is_early(self, snapshot: Snapshot) -> bool:
        """True for a directory that was just restarted and has not yet heard from the replicas we know."""
        known = self._snapshot
        if known is None and self._haproxy.adopted:
            return snapshot["young"]
        if known is None or known["epoch"] == snapshot["epoch"] or not snapshot["young"]:
            return False
        return {r["replica"] for r in known["replicas"]} > {r["replica"] for r in snapshot["replicas"]}

    async def _keep_alive(self) -> None:
        while True:
            for death in await asyncio.to_thread(self._haproxy.wait, ALIVE_S):
                logger.error("HAProxy ended and was started again: %s", death)
                self._deaths.append(time.monotonic())
            if await asyncio.to_thread(self._haproxy.alive):
                continue
            logger.error("HAProxy's keeper ended; starting both again")
            try:
                async with self._applying:
                    await asyncio.to_thread(self._haproxy.start, self._view())
            except OSError:
                logger.exception("HAProxy's configuration could not be written")
                await asyncio.sleep(ALIVE_S)
            except RayllmError as problem:
                logger.exception("HAProxy could not be started again")
                self._problem = problem
                return


def build(args: dict[str, Any]) -> serve.Application:
    """Serve's builder for the gateway's application."""
    return serve.deployment(Gateway, name=GATEWAY_DEPLOYMENT, max_constructor_retry_count=STARTS).bind(args)
