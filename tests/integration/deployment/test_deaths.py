"""kill -9 of each part of a deployment: what is served again by itself, and what never stops being served."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import command_of, marked, until

if TYPE_CHECKING:
    from tests.integration.deployment.conftest import Deployment

BACK_S = 60.0


def the_process(deployment: Deployment, *words: str, without: str = "\0") -> int:
    """The one process of the deployment whose command line has all `words`, and not `without`."""
    commands = {pid: command_of(pid) for pid in marked(deployment.rayllm.home)}
    found = [pid for pid, line in commands.items() if all(word in line for word in words) and without not in line]
    assert len(found) == 1, [commands[pid] for pid in found]
    return found[0]


def kill(pid: int) -> None:
    """End a process without a word, and see it gone."""
    os.kill(pid, signal.SIGKILL)
    until(f"process {pid} is gone", lambda: not command_of(pid), 10)


def kill_and_see_another(deployment: Deployment, word: str) -> None:
    """Kill a process, and wait for the one that takes its place: what still answers before that tells nothing."""
    before = the_process(deployment, word)
    kill(before)

    def again() -> bool:
        others = [command_of(pid) for pid in marked(deployment.rayllm.home) if pid != before]
        return any(word in line for line in others)

    until(f"another {word} runs", again, 120)


def test_the_engine(deployment: Deployment) -> None:
    """The dead engine's replica is replaced; the other model does not notice."""
    before, other = deployment.engine_pid("one"), deployment.answer("two")
    kill(before)
    assert deployment.answer("two") == other
    until("another engine answers", lambda: deployment.try_answer("one") not in {"", f"fake one pid {before}"}, BACK_S)
    deployment.wait_until_ready()


def test_the_reaper_of_an_engine(deployment: Deployment) -> None:
    """Without its reaper an engine is killed too, and its replica replaced."""
    before = deployment.engine_pid("one")
    kill(the_process(deployment, "reaper.py", "--model one"))
    until("the engine is gone", lambda: not command_of(before), 10)
    deployment.wait_for("one", BACK_S)
    deployment.wait_until_ready()


def test_the_replica(deployment: Deployment) -> None:
    """A replica's death takes its engine along, and Serve starts another."""
    before = deployment.engine_pid("one")
    kill(the_process(deployment, "ServeReplica:it--one:"))
    until("the engine is gone", lambda: not command_of(before), 20)
    deployment.wait_for("one", BACK_S)
    deployment.wait_until_ready()


def test_haproxy(deployment: Deployment) -> None:
    """Its keeper starts it again at once."""
    keeper = the_process(deployment, "haproxy.keeper ")
    for master in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
        kill(int(master))
    deployment.wait_for("one", 5)
    assert the_process(deployment, "haproxy.keeper ") == keeper


def test_what_a_key_has_asked_for(deployment: Deployment) -> None:
    """It outlives HAProxy, which alone counts it: a key with 20 requests a minute has 5 left after 15."""
    rayllm = deployment.rayllm
    key = rayllm.json("keys", "add", "paced", "--requests-per-minute", "20")["key"]
    until("there is room in the minute", lambda: time.time() % 60 < 30, 31)
    assert [deployment.post("one", key=key).status_code for _ in range(15)] == [200] * 15
    until("they are counted", lambda: [row["requests"] for row in rayllm.json("keys", "usage", "paced")] == [15], 15)
    keeper = the_process(deployment, "haproxy.keeper ")
    for master in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
        kill(int(master))
    deployment.wait_for("one", 5)
    assert [deployment.post("one", key=key).status_code for _ in range(9)][-1] == 429


def test_the_keeper_of_haproxy(deployment: Deployment) -> None:
    """HAProxy dies with it, and the gateway starts both again."""
    kill_and_see_another(deployment, "haproxy.keeper ")
    deployment.wait_for("one", 15)


def test_the_gateway(deployment: Deployment) -> None:
    """No request fails: HAProxy serves on, and the gateway that Serve starts adopts it."""
    engine, haproxy = deployment.engine_pid("one"), the_process(deployment, "haproxy.keeper ")
    statuses = list[int]()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(deployment.post("one").status_code)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            kill_and_see_another(deployment, "ServeReplica:it--rayllm:")
            deployment.wait_until_ready()
        finally:
            over.set()
        asking.result()
    assert set(statuses) == {200}
    assert the_process(deployment, "haproxy.keeper ") == haproxy
    assert deployment.engine_pid("one") == engine


def test_the_directory(deployment: Deployment) -> None:
    """Routing stays as it is while it restarts, and it fills itself again."""
    engine = deployment.engine_pid("one")
    kill(the_process(deployment, "ray::Directory"))
    for _ in range(20):
        assert deployment.engine_pid("one") == engine
    until(
        "the directory knows the replicas again",
        lambda: len(deployment.rayllm.json("status")["models"]["one"]["replicas"]) == 1,
        BACK_S,
    )
    assert deployment.engine_pid("one") == engine


@pytest.mark.parametrize("part", ["raylet/raylet", "gcs_server"])
def test_ray_itself(deployment: Deployment, part: str) -> None:
    """The cluster comes back by itself, with everything that was served."""
    kill_and_see_another(deployment, part)
    deployment.wait_for("one", 120)
    deployment.wait_for("two", 120)
    deployment.wait_until_ready()
    assert "No changes" in deployment.rayllm("plan")


def test_everything_that_starts_on_a_new_head_ends_once_more(deployment: Deployment) -> None:
    """The code stays in the cluster, though for a while no actor names it and there is no gateway to hold it.

    A head that was started again knows of no actor that names the code until new ones start.
    """
    before = set(marked(deployment.rayllm.home))
    kill_and_see_another(deployment, "gcs_server")
    ended = set[str]()

    def all_have_ended() -> bool:
        for pid in set(marked(deployment.rayllm.home)) - before:
            name = command_of(pid).partition("::it--")[2].partition("#")[0]
            if name and name not in ended:  # once: after three starts in vain Serve gives up
                os.kill(pid, signal.SIGKILL)
                ended.add(name)
        return ended == {"one", "two", "rayllm"}

    until("both models and the gateway have started, and ended", all_have_ended, 120)
    deployment.wait_for("one", 120)
    deployment.wait_for("two", 120)
    deployment.wait_until_ready()
