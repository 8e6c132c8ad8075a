"""The pairs as a picture: every one a dot, so that a spread is seen and not only told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks.pairs import Median
from benchmarks.results import Comparison, Result, SideBySide
from matplotlib.figure import Figure as Canvas

INK, DOTS, LINE = "#7a7f87", "#2f81f7", "#d1651f"
"""Colours that can be read on white and on black; the ground is left clear."""
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rayllm",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(results: Sequence[Result], file: Path) -> None:
    """Write an SVG with a row of dots for each comparison that has to keep something; the same in, the same out."""
    panels: dict[tuple[str, str], list[tuple[str, Comparison]]] = {}
    for result in results:
        for row in (row for row in result.comparisons if row.bound is not None):
            axis = "times what it is compared with" if row.how == "ratio" else f"{row.unit} more"
            panels.setdefault((result.subject, axis), []).append((f"{result.label}: {row.what}", row))
    if not panels:
        return
    with mpl.rc_context(STYLE):
        heights = [len(rows) for rows in panels.values()]
        canvas = Canvas(figsize=(8, 0.8 * len(panels) + 0.42 * sum(heights)), layout="constrained")
        axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for place, ((_, label), rows) in zip(axes, panels.items(), strict=True):
            _panel(place, rows)
            place.set_xlabel(label)
        file.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def draw_programs(rows: Sequence[SideBySide], file: Path) -> None:
    """Write an SVG with a panel for each quantity and a row of dots for each program, on a scale of powers of ten."""
    with mpl.rc_context(STYLE):
        heights = [len(row.values) for row in rows]
        canvas = Canvas(figsize=(8, 0.8 * len(rows) + 0.3 * sum(heights)), layout="constrained")
        axes = canvas.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, row in zip(axes, rows, strict=True):
            for place, values in enumerate(row.values.values()):
                axis.plot(values, [place] * len(values), "o", color=DOTS, alpha=0.45, markersize=6, markeredgewidth=0)
                axis.plot([Median.of(values).value], [place], "|", color=DOTS, markersize=14, markeredgewidth=3)
            axis.set_yticks(range(len(row.values)), list(row.values))
            axis.set_ylim(len(row.values) - 0.4, -0.6)
            axis.set_xscale("log")
            axis.set_xlabel(f"{row.what}, {row.unit}")
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.tick_params(axis="y", length=0)
        file.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def _panel(axis: Any, rows: Sequence[tuple[str, Comparison]]) -> None:
    for place, (_, row) in enumerate(rows):
        median = Median.of(row.pairs)
        axis.plot(row.pairs, [place] * len(row.pairs), "o", color=DOTS, alpha=0.45, markersize=6, markeredgewidth=0)
        axis.plot([median.low, median.high], [place, place], "-", color=DOTS, linewidth=2)
        axis.plot([median.value], [place], "|", color=DOTS, markersize=18, markeredgewidth=3)
        axis.plot([row.bound] * 2, [place - 0.4, place + 0.4], "--", color=LINE, linewidth=1.5)
    axis.set_yticks(range(len(rows)), [what for what, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.axvline(1 if rows[0][1].how == "ratio" else 0, color=INK, linewidth=0.8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
