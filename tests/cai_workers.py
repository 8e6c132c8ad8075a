"""Workers that are wanted, a Ray that tells what a test says, and the keeper between them and a stand-in workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from tests.cai import Cai
from tests.conftest import until

from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.node.groups import RayNode
from rayllm_backend_cai.node.keeper import BUSY_S, Keeper, Seen
from rayllm_backend_cai.shared import Group, Shape, Wanted

CODE = "c0de"


def group(least: int, most: int | None = None, **more: Any) -> Group:
    """A group of small workers."""
    told: dict[str, Any] = {"cpus": 1, "memory": 1, "runtime": "image", **more}
    return Group(min=least, max=least if most is None else most, **told)


def wanted(**groups: Group) -> Wanted:
    """A cluster `llm` with these groups."""
    head = Shape(cpus=1, memory=1, runtime="image")
    return Wanted(name="llm", subdomain="llm", code=CODE, serving="5e41", head=head, groups=groups, idle_minutes=5)


class ToldRay:
    """A Ray that a test speaks for."""

    def __init__(self) -> None:
        self.answers = True
        self.nodes: dict[str, RayNode] = {}
        self.more: dict[str, int] = {}
        self.idle: set[str] = set()
        self.takes = True
        self.drained: list[tuple[str, bool]] = []
        self.until = 0.0
        self.asked: Mapping[str, Sequence[str]] = {}

    def join(self, name: str, state: Literal["idle", "busy", "draining"] = "idle") -> None:
        """A node is alive."""
        self.nodes[name] = RayNode(f"id-of-{name}", state)

    def look(self, wanted: Wanted, workers: Mapping[str, Sequence[str]]) -> Seen | None:
        """What the test says."""
        del wanted
        self.asked = workers
        return Seen(dict(self.nodes), dict(self.more), set(self.idle)) if self.answers else None

    def drain(self, node: str, reason: str, until: float, *, idle: bool) -> bool:
        """As the test says."""
        assert reason
        self.drained.append((node.removeprefix("id-of-"), idle))
        self.until = until
        if self.takes:
            self.join(node.removeprefix("id-of-"), "draining")
        return self.takes


class Kept:
    """A keeper whose time is the workspace's, which stands still but for `tick`."""

    def __init__(self, cai: Cai) -> None:
        self.cai = cai
        self.ray = ToldRay()
        self.folder = cai.fake.folder(cai.project) / str(shared.cluster_folder("llm"))
        self.reasons: dict[str, str] = {}
        cai.fake.clock.freeze()
        self.keeper = self.restarted()

    def restarted(self) -> Keeper:
        """A new keeper, which knows what is on the disk."""
        self.keeper = Keeper(
            self.folder, self.cai.project, self.cai.client, self.ray, why=self._why, clock=self.cai.fake.clock.now
        )
        return self.keeper

    def want(self, **groups: Group) -> None:
        """Write what is wanted."""
        runtime = {"runtime": self.cai.fake.image}
        told = wanted(**{name: one.model_copy(update=runtime) for name, one in groups.items()})
        told.write(self.folder / "wanted.json")

    def tick(self, times: int = 1, seconds: float = BUSY_S) -> None:
        """Let time pass and the keeper look."""
        for _ in range(times):
            self.cai.fake.clock.advance(seconds)
            self.keeper.tick()

    def tick_until(self, what: str, look: Callable[[], bool]) -> None:
        """Tick until something is to be seen; processes live in real time."""

        def ticked() -> bool:
            self.tick()
            return look()

        until(what, ticked, 20)

    @property
    def workers(self) -> dict[str, Application]:
        """What the workspace lists, by name."""
        return {one.name: one for one in self.cai.client.applications.all(self.cai.project)}

    def settle(self, *names: str) -> None:
        """Wait until exactly these run, without the keeper."""

        def look() -> bool:
            states = {one.name: one.status for one in self.workers.values()}
            return states == dict.fromkeys(names, "running")

        until(f"{names} run", look, 20)

    def turn(self, name: str, status: str) -> None:
        """Wait until a worker is so far, without the keeper."""
        until(f"{name} is {status}", lambda: self.workers[name].status == status, 20)

    @property
    def told(self) -> list[str]:
        """The events, as text."""
        record = shared.KeeperRecord.read(shared.keeper_file(self.folder))
        return [f"{one.node} {one.text}".strip() for one in record.events] if record else []

    def asked(self, method: str, part: str = "") -> int:
        """How many calls of a kind the workspace has had."""
        return len([one for one in self.cai.calls if one.method == method and part in one.path])

    def _why(self, client: CaiClient, application: Application) -> str:
        del client
        return self.reasons.get(application.name, "")


def keep(cai: Cai, script: str) -> Kept:
    """A keeper in a workspace whose workers run this script."""
    run = cai.fake.folder(cai.project) / shared.run_script(CODE)
    run.parent.mkdir(parents=True)
    run.write_text(script)
    return Kept(cai)
