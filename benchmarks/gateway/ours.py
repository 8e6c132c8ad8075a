"""RayLLM's gateway as its actor runs it, without Ray: HAProxy, and the accounts that read its log.

`python -m benchmarks.gateway.ours` is told by a line of JSON (`Told`) on its standard input. It answers with the
seconds until HAProxy served that, and takes the next line: a change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway.mock import loopback

from rayllm.serving.accounting import Accounting
from rayllm.serving.haproxy import bodies
from rayllm.serving.haproxy.ingress import NOTHING_TOLD, Ingress
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, KeyRule, ModelRoute, Upstream

OTHER_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What to serve."""

    port: int
    key: str
    run_dir: str
    models: list[str]
    """The first has its replicas on the first addresses of loopback, and so on."""
    engine_port: int
    replicas: int = 2
    """Of each model."""
    lacking: int = 0
    """How many of them the first model has not got."""
    usage: bool = True
    """False: without what counts tokens."""
    ingress: bool = False
    """As on a platform whose ingress stands before it, with a way to Ray's dashboard."""

    @property
    def deployment(self) -> str:
        """A name that no other one on this machine has."""
        return f"bench-{self.port}"

    def view(self) -> GatewayView:
        """With keys that have every limit, far away."""
        secrets = [self.key, *(f"other {number}" for number in range(OTHER_KEYS))]
        digests = [hashlib.sha256(secret.encode()).hexdigest().upper() for secret in secrets]
        keys = tuple(
            KeyRule(
                f"k{number}",
                (digest,),
                requests_per_minute=10**8,
                concurrent_requests=10**5,
                tokens_per_minute=10**11,
            )
            for number, digest in enumerate(digests)
        )
        addresses = loopback(len(self.models) * self.replicas)
        routes = tuple(
            ModelRoute(model, "k", self._upstreams(addresses, index), max_ongoing=4096)
            for index, model in enumerate(self.models)
        )
        # Nobody listens on port 1: Serve's own proxy, which is asked while no replica is there, and Ray's dashboard.
        nobody, listen = ("127.0.0.1", 1), ("127.0.0.1", self.port)
        return GatewayView(
            self.deployment,
            *listen,
            nobody[1],
            routes,
            Path(self.run_dir),
            keys=keys,
            keys_required=True,
            ingress=Ingress(listen, nobody) if self.ingress else NOTHING_TOLD,
        )

    def _upstreams(self, addresses: Sequence[str], index: int) -> tuple[Upstream, ...]:
        present = range(0 if index else self.lacking, self.replicas)
        own = addresses[index * self.replicas :]
        return tuple(Upstream(f"r{number}", own[number], self.engine_port) for number in present)


async def run(told: Told) -> None:
    """Serve until the input ends."""
    if not told.usage:
        bodies.filters = lambda: iter(())  # the product has no switch for it
        bodies.attach = lambda: iter(())
    place = Path(told.run_dir)
    access = place.with_name(f"{place.name}-access.log")
    haproxy = HAProxy(place.with_name(f"{place.name}-gateway.log"), access)
    accounting = Accounting(access, place.with_name(f"{place.name}-records.sqlite"), place)
    view = told.view()

    async def apply() -> None:
        await asyncio.to_thread(haproxy.apply, view)

    try:
        began = time.perf_counter()
        await asyncio.to_thread(haproxy.start, view)
        print(time.perf_counter() - began, flush=True)
        counting = asyncio.create_task(accounting.follow(lambda: view.keys, apply)) if told.usage else None
        while line := await asyncio.to_thread(sys.stdin.readline):
            view = Told(**json.loads(line)).view()
            began = time.perf_counter()
            await apply()
            print(time.perf_counter() - began, flush=True)
        if counting:
            counting.cancel()
    finally:
        await asyncio.to_thread(haproxy.stop, 0)


def main() -> None:
    """Run as a program."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its end is that of its input
    asyncio.run(run(Told(**json.loads(sys.stdin.readline()))))


if __name__ == "__main__":
    main()
