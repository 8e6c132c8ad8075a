"""Doing something on many nodes of a cluster at once, by a job of Ray's that needs no gateway and no model."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rayllm.backends import Cluster, Progress
from rayllm.cluster.bundle import Bundle
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.jobs_api import ENDED, JobsApi, entrypoint
from rayllm.deployment.patience import Patience
from rayllm.errors import ClusterError

POLL_S = 0.5
STOP_S = 15.0
"""Seconds that a job may take to end once it was asked to."""
Line = dict[str, Any]


@dataclass
class NodeJob:
    """One module, run on several nodes.

    Use `run`: it returns when all are through. Ctrl-C stops the job, and with it all that it has started.
    """

    cluster: Cluster
    code: Bundle
    """What the module and its tasks have."""
    module: str
    """Run on each node as `python -m MODULE '{…}'`; prints objects as JSON, one a line."""
    nodes: Mapping[str, Any]
    """What it is told, by node id."""
    progress: Progress
    """Told where the cluster does not answer."""
    name: str = ""
    """The job's id; unlike any other's."""
    _read: int = 0
    _open: set[str] = field(default_factory=set)

    def run(self, hear: Callable[[str, Line], None]) -> dict[str, str]:
        """Start it and follow it to its end.

        Args:
            hear: told each line with the node's id.

        Returns:
            For each node where the module ended with another status than 0, by its id, what it said beside its lines.

        Raises:
            ClusterError: the cluster does not take jobs, or can't be asked.
        """
        self.name = f"rayllm-{self.cluster.name}-{uuid.uuid4().hex[:12]}"
        self._open = set(self.nodes)
        broken: dict[str, str] = {}
        with JobsApi.of(self.cluster) as api:
            if not api.has_package(self.code.name):
                api.put_package(self.code.name, self.code.content)
            api.submit(self.name, entrypoint(self.module, self.nodes), self.code.uri)
            try:
                message = self._follow(api, hear, broken)
            except BaseException:
                self._end(api)
                raise
            api.delete_job(self.name)
        if self._open:
            raise ClusterError(
                f"the job {self.name} ended before {len(self._open)} of {len(self.nodes)} nodes were through",
                cause=message,
                cure="run it again: what was done is kept",
                topic="cluster-failed",
            )
        return broken

    def _follow(self, api: JobsApi, hear: Callable[[str, Line], None], broken: dict[str, str]) -> str:
        patience = Patience(self.progress)
        while True:
            state = patience.ask(lambda: api.job(self.name))
            # The log after the state: what it printed before it ended is all there.
            text = patience.ask(lambda: api.job_log(self.name)) if state else None
            if text is not None and state is not None:
                for line in self._new_lines(text, ended=state[0] in ENDED):
                    self._take(line, hear, broken)
                if state[0] in ENDED:
                    return f"{state[1]}\n{_last_words(text)}".strip()
            time.sleep(POLL_S)

    def _new_lines(self, text: str, *, ended: bool) -> Iterator[Line]:
        """The objects in what has been added, in whole lines."""
        end = len(text) if ended else text.rfind("\n") + 1
        added, self._read = text[self._read : end], max(end, self._read)
        for line in added.splitlines():
            if line.startswith('{"node":'):
                yield json.loads(line)

    def _take(self, line: Line, hear: Callable[[str, Line], None], broken: dict[str, str]) -> None:
        node = str(line.pop("node"))
        if "end" not in line:
            hear(node, line)
            return
        self._open.discard(node)
        if line["end"]:
            broken[node] = str(line["words"]) or f"exit status {line['end']}"

    def _end(self, api: JobsApi) -> None:
        """Stop the job and wait until nothing of it runs; a cluster that is gone has stopped it already."""
        try:
            api.stop_job(self.name)
            end = time.monotonic() + STOP_S
            while api.job(self.name)[0] not in ENDED and time.monotonic() < end:
                time.sleep(0.2)
            api.delete_job(self.name)
        except UnreachableError:
            self.progress("cluster", f"does not answer: the job {self.name} may go on")


def _last_words(log: str) -> str:
    """What a job printed last that is none of ours: a traceback, where it has one."""
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith('{"node":')]
    return "\n".join(lines[-5:])
