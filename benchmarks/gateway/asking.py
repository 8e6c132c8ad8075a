"""The load client as a process that is kept, and what a gateway's processes use while it asks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.gateway.client import Done, NotWholeError, Work
from benchmarks.gateway.processes import Dialogue, cpu_us
from benchmarks.pairs import percentile


@dataclass(frozen=True, slots=True)
class Taken:
    """One block of work, as the client saw it, and the processor time of what stood between."""

    work: Work
    done: Done
    cpu_us: float

    @property
    def cpu_each_us(self) -> float:
        """Processor time for each request."""
        return self.cpu_us / self.done.requests

    @property
    def cpu_chunk_us(self) -> float:
        """Processor time for each token of a stream, that of its request within."""
        return self.cpu_each_us / self.work.tokens

    @property
    def each_second(self) -> float:
        """Requests a second."""
        return self.done.requests / self.done.seconds

    @property
    def p50_ms(self) -> float:
        """Median of the time to an answer's end."""
        return median(self.done.whole_ms)

    @property
    def p99_ms(self) -> float:
        """Time to an answer's end that 99 of 100 requests keep."""
        return percentile(self.done.whole_ms, 99)

    @property
    def first_ms(self) -> float:
        """Median of the time to the first byte of an answer, of a stream to its first event."""
        return median(self.done.first_ms)


class Asker(Dialogue):
    """Asks what it is told to."""

    def __init__(self) -> None:
        super().__init__("benchmarks.gateway.client")

    def ask(self, work: Work, pids: Iterable[int] = (), behind_s: float = 0.0) -> Taken:
        """Do this work; `pids` are the processes whose time is taken, until `behind_s` seconds after the last answer.

        Raises:
            NotWholeError: an answer was not what was asked for.
        """
        pids = list(pids)
        ready = self.tell(asdict(work))
        if ready != "ready\n":
            raise NotWholeError(json.loads(ready)["error"])
        before = cpu_us(pids)
        told = json.loads(self.tell("go"))
        if "error" in told:
            raise NotWholeError(told["error"])
        time.sleep(behind_s)
        return Taken(work, Done(**told), cpu_us(pids) - before)
