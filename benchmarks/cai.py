"""What RayLLM's bring-up on Cloudera AI takes beside the same four applications with Ray started by hand.

The workspace is the stand-in without delays, Ray is real. The project is there, with the nodes' environment in it: a
shell script in place of what a job builds.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.results import Comparison, Figure, Result

from rayllm import ClusterSpec
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm.serving.processes.ports import hold_port
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import NewApplication
from rayllm_backend_cai.backend import CaiBackend
from rayllm_backend_cai.bootstrap.requirements import serving_for
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.testing import FakeCai
from rayllm_backend_cai.testing.api import Asked

NAME, GROUP = "bench", "w"
SCRIPT = Path(__file__).with_name("cai_by_hand.py")
PYTHON = "3.11"
"""Of the stand-in's runtime, as it is called; what runs is this program's own."""
OWN_S, MOST_CALLS = 15.0, 40
START_S, LOOK_S = 300.0, 0.1
_READING = ("/auth/validate_key", ":download")
"""Ends of paths that are only read from, though they are asked by POST."""

_WAITING = ("/applications", f"%2F{NAME}")
"""Ends of the lists by which one waits."""


@dataclass
class Taken:
    """What was seen, round by round."""

    workers: int
    """Beside the head."""
    hand_s: list[float] = field(default_factory=list)
    new_s: list[float] = field(default_factory=list)
    there_s: list[float] = field(default_factory=list)
    new_calls: list[float] = field(default_factory=list)
    there_calls: list[float] = field(default_factory=list)
    second_calls: list[float] = field(default_factory=list)
    second_changes: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """The requests of the last second call."""


def measure(*, rounds: int, workers: int) -> Result:
    """Run it all."""
    taken = Taken(workers)
    with workspace() as fake:
        for number in range(rounds):
            sides = (by_hand, through)
            for side in sides if number % 2 == 0 else sides[::-1]:
                side(fake, fake.add_project(f"{side.__name__}-{number}"), taken)
    asked = ", ".join(f"{count} × {call}" for call, count in sorted(taken.asked.items()))
    return Result(
        subject="cai",
        title="A cluster on Cloudera AI",
        label="cai",
        method=f"a head and {workers} workers in the stand-in workspace without delays, {rounds} rounds in turn with "
        "as many applications whose script starts Ray and answers `/health`; one list for every 2 s is "
        f"not counted; requests of the head, which keeps the workers, are. A second `up` asks: {asked}",
        comparisons=[
            Comparison(
                what=f"from the key to {workers + 1} nodes, {what}",
                unit="s",
                ours=ours,
                theirs=taken.hand_s,
                beside="by hand",
                how="difference",
                bound=OWN_S,
                headline=ours is taken.new_s,
            )
            for what, ours in (("RayLLM's code is new", taken.new_s), ("the code is there", taken.there_s))
        ],
        figures=[
            _calls("API calls, RayLLM's code is new", taken.new_calls, MOST_CALLS, headline=True),
            _calls("API calls, the code is there", taken.there_calls, MOST_CALLS),
            _calls("API calls of a second up", taken.second_calls),
            _calls("API calls of a second up that change something", taken.second_changes, 0),
        ],
    )


def _calls(what: str, values: list[float], bound: float | None = None, *, headline: bool = False) -> Figure:
    return Figure(what=what, unit="calls", values=values, bound=bound, headline=headline)


@contextmanager
def workspace() -> Iterator[FakeCai]:
    """The stand-in; its applications are found by their names through a proxy."""
    told = dict.fromkeys(("HTTP_PROXY", "NO_PROXY", "no_proxy", "CML_PROJECT", "CML_APPLICATION_KEY"), "")
    before = {name: os.environ.get(name) for name in told}
    # short: paths of Ray's sockets lie below
    with tempfile.TemporaryDirectory(prefix="cai-", dir="/tmp") as place, FakeCai(root=Path(place)) as fake:
        os.environ.update(told | {"HTTP_PROXY": fake.url})
        try:
            yield fake
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                os.environ.update({name: value} if value is not None else {})
        engines = [one.pod.engine for one in fake.workloads()]
    for engine in engines:
        shutil.rmtree(f"/tmp/rl-{engine}", ignore_errors=True)  # noqa: S108


def by_hand(fake: FakeCai, project: str, taken: Taken) -> None:
    """Make the applications at once, and wait until Ray lists all of them."""
    shutil.copy(SCRIPT, fake.folder(project) / SCRIPT.name)
    gcs, dashboard = hold_port(), hold_port("127.0.0.1")
    new = [
        NewApplication(
            name=f"{project}-{number}",
            subdomain=f"{project}-{number}",
            script=SCRIPT.name,
            runtime_identifier=fake.image,
            cpu=1,
            memory=4,
            environment={
                shared.POLLING: shared.HEALTH,
                "GCS_PORT": str(gcs.number),
                "DASHBOARD_PORT": "" if number else str(dashboard.number),
                "RAY_USAGE_STATS_ENABLED": "0",
            },
        )
        for number in range(1 + taken.workers)
    ]
    with CaiClient(fake.workspace) as client, ThreadPoolExecutor(len(new)) as pool:
        began = time.perf_counter()
        made = list(pool.map(lambda one: client.applications.create(project, one), new))
        with ServeApi(f"http://127.0.0.1:{dashboard.number}", None) as api:
            await_nodes(api, fake, [one.name for one in new])
        taken.hand_s.append(time.perf_counter() - began)
        for one in made:
            client.applications.stop(project, one.id)
    await_end(fake, [one.name for one in new])
    gcs.release()
    dashboard.release()


def await_nodes(api: ServeApi, fake: FakeCai, names: Sequence[str]) -> None:
    """Return when Ray lists as many nodes that are alive.

    Raises:
        SystemExit: it does not, in five minutes, or one of the applications ends.
    """
    end = time.monotonic() + START_S
    while time.monotonic() < end and not any(fake.pod(name).end for name in names):
        try:
            if sum(node.state == "alive" for node in api.nodes()) == len(names):
                return
        except UnreachableError:
            pass
        time.sleep(LOOK_S)
    raise SystemExit("\n".join([f"Ray does not list {len(names)} nodes", *map(fake.log, names)]))


def await_end(fake: FakeCai, names: Sequence[str]) -> None:
    """Return when nothing of these applications runs, so that the next side has the machine for itself."""
    while any(fake.pod(name).processes() for name in names):
        time.sleep(LOOK_S)


def through(fake: FakeCai, project: str, taken: Taken) -> None:
    """Bring a cluster up, ask once more, and bring it up again where its code is."""
    plant(fake.folder(project))
    options = {"cpus": 1, "memory": "4GiB"}
    told = {"host": fake.url, "key": fake.key, "project": project, "head": options}
    backend = CaiBackend(CaiOptions.model_validate({**told, "workers": {GROUP: {**options, "count": taken.workers}}}))
    for seconds, calls in ((taken.new_s, taken.new_calls), (taken.there_s, taken.there_calls)):
        took, asked = ensure(fake, backend, taken.workers)
        seconds.append(took)
        calls.append(counted(asked, took))
        if calls is taken.new_calls:
            _, again = ensure(fake, backend, taken.workers)
            taken.second_calls.append(len(again))
            taken.second_changes.append(sum(changes(one) for one in again))
            taken.asked = Counter(shown(one, project) for one in again)
        backend.destroy(NAME, lambda *_, **__: None)
        await_end(fake, [NAME, *(f"{NAME}-{GROUP}-{number + 1}" for number in range(taken.workers))])


def ensure(fake: FakeCai, backend: CaiBackend, workers: int) -> tuple[float, list[Asked]]:
    """Seconds of one bring-up, and what the workspace was asked.

    Raises:
        SystemExit: there are not as many nodes.
    """
    before, began = len(fake.calls), time.perf_counter()
    spec = ClusterSpec(name=NAME, gateway_host="127.0.0.1", gateway_port=8000)
    cluster = backend.ensure(spec, lambda *_, **__: None)
    took = time.perf_counter() - began
    calls = fake.calls[before:]
    with ServeApi.of(cluster) as api:
        alive = sum(node.state == "alive" for node in api.nodes())
    if alive != 1 + workers:
        raise SystemExit(f"{alive} nodes are alive")
    return took, calls


def plant(folder: Path) -> None:
    """Lay what the environment's job builds onto a project's disk: this program's own Python."""
    environment = folder / shared.SERVING / serving_for(PYTHON).digest
    program = environment / "bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    (environment / shared.READY).write_text("{}")


def counted(calls: Sequence[Asked], seconds: float) -> int:
    """All of them, but for one list, of applications or of the cluster's files, for every 2 s."""
    lists = sum(one.method == "GET" and one.path.endswith(_WAITING) for one in calls)
    return len(calls) - min(lists, int(seconds / 2))


def changes(call: Asked) -> bool:
    """Whether it does more than read."""
    return call.method != "GET" and not call.path.endswith(_READING)


def shown(call: Asked, project: str) -> str:
    """Without what differs from project to project."""
    path = call.path.replace(project, "ID").replace("%2F", "/").replace(f"/clusters/{NAME}/", "/clusters/NAME/")
    return f"`{call.method} {re.sub(r'[0-9a-f]{12}', 'DIGEST', path)}`"
