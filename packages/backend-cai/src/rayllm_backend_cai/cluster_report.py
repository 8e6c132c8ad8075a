"""A `Cluster` from what the platform and the project's disk tell."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from rayllm import Cluster
from rayllm.backends import PlatformNode
from rayllm_backend_cai.api.records import Application, Usage
from rayllm_backend_cai.applications import OVER, group_of
from rayllm_backend_cai.endings import told_of
from rayllm_backend_cai.shared import HeadRecord, KeeperRecord, Wanted, worker_name
from rayllm_backend_cai.steps.keeper_words import held, lacking
from rayllm_backend_cai.steps.keys import Ingress
from rayllm_backend_cai.steps.nodes import head_of
from rayllm_backend_cai.workspace import Workspace

RAY = "/rayllm/ray"
"""Below the endpoint, Ray's dashboard for who shows Ray's token."""
SERVE_PORT = 8001
"""Of Serve's own proxy, until the head tells."""
ALIVE = frozenset({"running", "starting"})
RECORDS = frozenset({"head.json", "token"})
"""Files in the cluster's folder."""


@dataclass(frozen=True)
class Records:
    """What the head has written for the operator."""

    head: HeadRecord | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, folder: PurePosixPath, read: Callable[[PurePosixPath], bytes | None]) -> Records:
        """From the cluster's folder; two requests, one while there is no head."""
        head = _head_record(read(folder / "head.json"))
        token = (read(folder / "token") or b"").decode(errors="replace").strip() if head else ""
        return cls(head, token or None)

    @property
    def whole(self) -> bool:
        """Whether the head can be talked to."""
        return self.head is not None and self.token is not None


def _head_record(content: bytes | None) -> HeadRecord | None:
    try:
        return HeadRecord.model_validate_json(content) if content else None
    except ValueError:  # read while it is written
        return None


def report(
    workspace: Workspace,
    ingress: Ingress,
    name: str,
    *,
    applications: Iterable[Application],
    wanted: Wanted | None,
    records: Records,
    usage: Iterable[Usage] = (),
    kept: KeeperRecord | None = None,
) -> Cluster:
    """The cluster as it is now; with what the head says of workers, where that was asked for."""
    there, used = sorted(applications, key=lambda one: (bool(group_of(one)), one.name)), list(usage)
    head = head_of(there)
    reasons = {one.name: told_of(one, used) if one.status not in ALIVE else _leaves(one, kept) for one in there}
    subdomain = head.subdomain if head else wanted.subdomain if wanted else name
    url = workspace.application_url(subdomain)
    state, reason = _judge(head, records, reasons)
    return Cluster(
        name=name,
        dashboard_url=url + RAY,
        gateway_url=url,
        token=records.token,
        headers=ingress.headers,
        shown_headers=ingress.shown_headers,
        nodes=[
            PlatformNode(
                name=one.name,
                state=one.status,
                reason=reasons[one.name],
                group=group_of(one),
                head=not group_of(one),
            )
            for one in there
        ]
        + list(_absent(there, wanted, kept)),
        elastic=wanted is not None and any(group.min < group.max for group in wanted.groups.values()),
        state=state,
        reason=reason,
        serve_port=records.head.serve_port if records.head else SERVE_PORT,
    )


def _leaves(one: Application, kept: KeeperRecord | None) -> str:
    leaving = kept.leaving.get(one.id) if kept else None
    return f"it is to go: {leaving.reason}" if leaving else ""


def _absent(there: Sequence[Application], wanted: Wanted | None, kept: KeeperRecord | None) -> Iterator[PlatformNode]:
    """The next worker of each group of which none is made, as a node that is not there, with why."""
    if wanted is None or kept is None:
        return
    names, lacks, now = {one.name for one in there}, lacking(there, wanted), time.time()
    for group in lacking(there, wanted, most=True):
        if why := held(kept, group, now, lacks=group in lacks):
            free = (worker_name(wanted.name, group, number) for number in itertools.count(1))
            name = next(one for one in free if one not in names)
            yield PlatformNode(name=name, state=why[0], reason=why[1], group=group)


def _judge(
    head: Application | None, records: Records, reasons: dict[str, str]
) -> tuple[Literal["ready", "starting", "failed"], str]:
    if head is None:
        return "failed", "the application of its head is not there; rayllm up makes it"
    if head.status in OVER:
        why = f": {reasons[head.name]}" if reasons[head.name] else ""
        return "failed", f"the application of its head is {head.status}{why}; rayllm up starts it again"
    if head.status != "running":
        return "starting", f"the application of its head is {head.status}"
    if not records.whole:
        return "starting", "its head has not said yet where it is"
    return "ready", ""
