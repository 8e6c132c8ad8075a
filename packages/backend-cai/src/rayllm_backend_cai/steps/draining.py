"""What a worker that is to go is waiting for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.shared import KeeperRecord
from rayllm_backend_cai.steps.keeper_words import keeper_record
from rayllm_backend_cai.steps.nodes import Place


def draining(place: Place, workers: Iterable[Application], api: ServeApi) -> list[str]:
    """A line for each of these workers that is to go. One request to the platform, two to the cluster.

    Raises:
        CaiError: the platform does not tell.
        UnreachableError: the cluster does not.
    """
    kept = keeper_record(place)
    return list(draining_words(kept, workers, replicas_by_node(api))) if kept else []


def replicas_by_node(api: ServeApi) -> Counter[str]:
    """How many of Serve's replicas are on each node that is alive, by the node's name.

    Raises:
        UnreachableError: the cluster does not answer.
    """
    names = {node.id: node.name for node in api.nodes() if node.state == "alive"}
    return Counter(
        names[replica["node_id"]]
        for app in api.details()["applications"].values()
        for deployment in app["deployments"].values()
        for replica in deployment["replicas"]
        if replica.get("node_id") in names
    )


def draining_words(kept: KeeperRecord, workers: Iterable[Application], replicas: Counter[str]) -> Iterator[str]:
    """How far each is, from what the head has written, and what is left on it."""
    for one in workers:
        leaving = kept.leaving.get(one.id)
        if leaving is None:
            continue
        if count := replicas[one.name]:
            latest = time.strftime("%H:%M:%S", time.localtime(leaving.until))
            yield f"{one.name} drains: {count} replica{'s' * (count != 1)} there, until {latest} at the latest"
        else:
            yield f"{one.name} goes: no replica is there any more"
