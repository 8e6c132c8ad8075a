"""What an engine is busy with, read off its metrics. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rayllm.engines import Gauges

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{.*\})?\s+(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?:\s+-?\d+)?\s*$")
"""Name, labels, a finite value, and a time stamp that few write."""


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


def parse_load(text: str, gauges: Gauges) -> Load | None:
    """Sum an engine's metrics over their labels; `text` is Prometheus' text format.

    Returns:
        None if the metrics are not there: an engine that calls them otherwise must not pass for an idle one.
    """
    totals = {gauges.running: 0.0, gauges.waiting: 0.0, gauges.generated: 0.0}
    found = False
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample and sample[1] in totals:
            totals[sample[1]] += float(sample[2])
            found = True
    return Load(totals[gauges.running], totals[gauges.waiting], totals[gauges.generated]) if found else None
