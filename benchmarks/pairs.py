"""What two sides measured in turn say about each other: medians, how sure they are, and whether a bound is kept.

No distribution is assumed. The interval of a median lies between two of the sorted values, so chosen that it holds the
true median in at least 95 of 100 runs. Six values are the fewest that can: for six it reaches from the lowest to the
highest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SURE = 0.95
FEWEST = 6
"""Pairs below which nothing is resolved."""
Verdict = Literal["kept", "missed", "not resolved here"]


@dataclass(frozen=True, slots=True)
class Median:
    """A median, and the interval that holds the true one with 95 % confidence; all in the values' unit."""

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Median:
        """The median of `values`; of fewer than six the interval is from the lowest to the highest.

        Raises:
            ValueError: there is no value.
        """
        if not values:
            raise ValueError("no value was measured")
        ordered = sorted(values)
        left_out = outside(len(ordered))
        return cls(statistics.median(ordered), ordered[left_out], ordered[-1 - left_out], len(ordered))

    def keeps(self, bound: float, *, at_least: bool) -> Verdict:
        """Whether the true median is on the right side of `bound`; not resolved where the interval reaches across."""
        if self.count < FEWEST or self.low < bound < self.high:
            return "not resolved here"
        return "kept" if (self.value >= bound) == at_least or self.value == bound else "missed"


def outside(count: int) -> int:
    """How many values at each end the interval of a median of `count` values leaves out."""
    below, left_out = 0.0, 0
    while left_out < count // 2:
        below += math.comb(count, left_out) / 2**count
        if 2 * below > 1 - SURE:
            break
        left_out += 1
    return max(0, left_out - 1)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each of ours in units of its partner."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """What each of ours has more than its partner."""
    return [our - their for our, their in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
