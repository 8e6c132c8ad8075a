"""Models whose replicas span several nodes: their ranks are placed apart, and live and die as one."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, marked, until

RANK = re.compile(r"^\S*python\S* -I \S*fake_server.* --rank=(\d)")
MODEL: dict[str, Any] = {
    "engine": "fake",
    "source": "/",
    "resources": {"cpus": 0.5, "nodes": 2},
    "options": {"token_s": 0.01},
    "drain_s": 5,
}


class Ranks:
    """A file, and what runs of it on a cluster of a head and a worker, each with one core."""

    def __init__(self, rayllm: Rayllm) -> None:
        self.rayllm = rayllm
        self.port = free_port()

    def write(self, **models: Any) -> None:
        """Write the file."""
        cluster = {"backend": "multinode", "options": {"workers": 1, "cpus": 1}}
        whole = {"name": "ranks", "cluster": cluster, "models": models, "gateway": {"port": self.port}}
        self.rayllm.write(yaml.safe_dump(whole))

    def processes(self) -> dict[int, int]:
        """Those of the ranks, by rank."""
        found = {pid: RANK.search(command_of(pid)) for pid in marked(self.rayllm.home)}
        return {int(rank[1]): pid for pid, rank in found.items() if rank}

    def actor(self, words: str) -> int:
        """The process of one of Ray's actors."""
        (found,) = [pid for pid in marked(self.rayllm.home) if words in command_of(pid)]
        return found

    def answers(self) -> bool:
        """Whether the model answers."""
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        try:
            return httpx.post(url, json=body, trust_env=False, timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def replaced(self, before: dict[int, int]) -> None:
        """Wait until none of the processes before is left, and others serve."""
        until("its processes are gone", lambda: not any(RANK.search(command_of(pid)) for pid in before.values()), 30)
        until("both ranks run again", lambda: sorted(self.processes()) == [0, 1], 90)
        until("the model answers", self.answers, 60)


@pytest.fixture(scope="module")
def ranks(rayllm: Rayllm) -> Ranks:
    """A model on two nodes, up."""
    made = Ranks(rayllm)
    made.write(m=MODEL)
    rayllm("up", "--yes", seconds=180)
    return made


def test_its_ranks_are_on_two_nodes(ranks: Ranks) -> None:
    """They meet at the first one's address, and `status` and `plan` tell of both."""
    assert ranks.answers()
    (replica,) = ranks.rayllm.json("status")["models"]["m"]["replicas"]
    assert len({replica["node"], *replica["ranks"]}) == 2
    assert sorted(ranks.processes()) == [0, 1]
    assert re.search(r"--meet=127\.0\.0\.[23]:\d+", command_of(ranks.processes()[1]))
    assert "2 nodes with 0.5 CPU cores each" in ranks.rayllm("status", "m")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_takes_all_along(ranks: Ranks, rank: int) -> None:
    """They are started again as one, and the failure is told with its node."""
    before = ranks.processes()
    os.kill(before[rank], signal.SIGKILL)
    ranks.replaced(before)
    past = ranks.rayllm.json("status")["models"]["m"]["past"]
    who = r"node 2 of 2 \(127\.0\.0\.[23]\): its rank" if rank else "the engine"
    assert re.fullmatch(rf"{who} died while serving \(killed by signal 9\)", past["message"])
    assert ("rank1" in past["log"]) == bool(rank)


@pytest.mark.parametrize("actor", ["ServeReplica:ranks--m", "ray::Rank"])
def test_a_killed_actor_takes_all_along(ranks: Ranks, actor: str) -> None:
    """The replica's, and that of another rank."""
    before = ranks.processes()
    os.kill(ranks.actor(actor), signal.SIGKILL)
    ranks.replaced(before)


def test_more_nodes_than_there_are(ranks: Ranks) -> None:
    """Refused with the numbers, and nothing is changed."""
    before = ranks.processes()
    ranks.write(m={**MODEL, "resources": {"cpus": 0.5, "nodes": 3}})
    said = ranks.rayllm("up", "--yes", status=1)
    assert "m: one replica needs 3 nodes with 0.5 CPU cores each; the cluster has 2 nodes" in said
    said = ranks.rayllm("scale", "m", "3", status=1)
    assert "3 replicas of m don't fit: each needs 2 nodes with 0.5 CPU cores each" in said
    assert "the nodes have room for 2" in said
    assert ranks.processes() == before


def test_a_rank_that_does_not_start(ranks: Ranks) -> None:
    """Told with its node, its last words and its own log."""
    failing = {"options": {"fail_start": "RuntimeError: no such device", "fail_rank": 1}}
    ranks.write(m={**MODEL, **failing})
    said = ranks.rayllm("up", "--yes", status=1, seconds=180)
    assert re.search(r"node 2 of 2 \(127\.0\.0\.[23]\): its rank stopped while starting \(exit status 1\)", said), said
    assert "RuntimeError: no such device" in said
    log = ranks.rayllm("logs", "m", "--last-start")
    assert "rank 1" not in log
    assert "RuntimeError: no such device" in log
    until("no rank is left", lambda: not ranks.processes(), 30)
