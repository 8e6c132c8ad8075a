"""What a person is shown of workers that are wanted and not there."""

from __future__ import annotations

import time

import pytest
from tests.cai_workers import group, wanted

from rayllm.backends import PlatformNode
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.cluster_report import Records, report
from rayllm_backend_cai.shared import CLUSTER, GROUP, Hold, KeeperRecord, Leaving
from rayllm_backend_cai.steps.keeper_words import STALE_S
from rayllm_backend_cai.steps.keys import Ingress
from rayllm_backend_cai.workspace import Workspace

HEAD = Application(id="h", name="llm", status="running", environment={CLUSTER: "llm"})
WORKER = Application(id="w", name="llm-w-1", status="running", environment={CLUSTER: "llm", GROUP: "w"})
QUOTA = "out of quota"


def hold(*, late: float = 0, count: int = 1) -> Hold:
    """Of which the next try was due so many seconds ago."""
    return Hold(reason=QUOTA, since=0, again=time.time() - late, count=count)


def absent(kept: KeeperRecord | None, least: int, most: int) -> list[PlatformNode]:
    """Nodes beside a head and one worker."""
    cluster = report(
        Workspace(url="https://w", key="k"),
        Ingress(),
        "llm",
        applications=[HEAD, WORKER],
        wanted=wanted(w=group(least, most)),
        records=Records(),
        kept=kept,
    )
    assert [node.name for node in cluster.nodes][:2] == ["llm", "llm-w-1"]
    return list(cluster.nodes[2:])


@pytest.mark.parametrize(
    ("kept", "least", "most", "told"),
    [
        (None, 2, 2, None),
        (KeeperRecord(), 2, 2, None),
        (KeeperRecord(refused={"w": hold()}), 2, 2, ("refused", QUOTA)),
        (KeeperRecord(refused={"w": hold(count=3)}), 2, 2, ("refused", f"{QUOTA} (3 times in a row)")),
        (KeeperRecord(failing={"w": hold()}), 2, 2, ("waiting", QUOTA)),
        (KeeperRecord(trouble="no answer", refused={"w": hold()}), 2, 2, ("waiting", "no answer")),
        # a range has its fewest, and wanted more not long ago
        (KeeperRecord(refused={"w": hold()}), 1, 2, ("refused", QUOTA)),
        (KeeperRecord(refused={"w": hold(late=2 * STALE_S)}), 1, 2, None),
        (KeeperRecord(trouble="no answer"), 1, 2, None),
        (KeeperRecord(trouble="no key", stuck=True), 1, 2, ("waiting", "no key")),
        # the fewest are wanted for ever, and a failure is over some day
        (KeeperRecord(refused={"w": hold(late=2 * STALE_S)}), 2, 2, ("refused", QUOTA)),
        (KeeperRecord(failing={"w": hold(late=2 * STALE_S)}), 2, 2, None),
        # all are there
        (KeeperRecord(refused={"w": hold()}, trouble="no answer"), 1, 1, None),
    ],
)
def test_why_there_are_not_more(kept: KeeperRecord | None, least: int, most: int, told: tuple[str, str] | None) -> None:
    """As the head says, under the name that the next one gets."""
    expected = [PlatformNode(name="llm-w-2", state=told[0], reason=told[1], group="w")] if told else []
    assert absent(kept, least, most) == expected


def test_who_is_to_go() -> None:
    """With why."""
    leaving = Leaving(name="llm-w-1", reason="1 of w are wanted", since=0, until=0)
    cluster = report(
        Workspace(url="https://w", key="k"),
        Ingress(),
        "llm",
        applications=[HEAD, WORKER],
        wanted=wanted(w=group(1)),
        records=Records(),
        kept=KeeperRecord(leaving={"w": leaving}),
    )
    assert [node.reason for node in cluster.nodes] == ["", "it is to go: 1 of w are wanted"]
