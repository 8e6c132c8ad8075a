"""What an engine is busy with, read off its metrics. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rayllm.engines import Gauges


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine is busy with."""

    running: float
    waiting: float
    generated: float
    """Tokens since the start."""

    @property
    def ongoing(self) -> float:
        """Requests in the engine."""
        return self.running + self.waiting


def parse_load(text: str, gauges: Gauges) -> Load:
    """Sum an engine's metrics over their labels; `text` is Prometheus' text format."""
    names = (gauges.running, gauges.waiting, gauges.generated)
    totals = dict.fromkeys(names, 0.0)
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in totals:
            totals[name] += float(line.rpartition(" ")[2])
    return Load(*(totals[name] for name in names))
