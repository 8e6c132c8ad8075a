"""The pairs as a picture: every one a dot, so that a spread is seen and not only told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmarks.pairs import Median
from benchmarks.results import Comparison, Result
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
    """Write an SVG with one row of dots for each comparison that stands in the README; the same in, the same out."""
    rows = [(f"{result.label}: {row.what}", row) for result in results for row in result.comparisons if row.headline]
    panels = [
        (how, chosen) for how in ("ratio", "difference") if (chosen := [pair for pair in rows if pair[1].how == how])
    ]
    if not panels:
        return
    with mpl.rc_context(STYLE):
        heights = [len(chosen) for _, chosen in panels]
        canvas = Canvas(figsize=(8, 1.1 * len(panels) + 0.42 * sum(heights)), layout="constrained")
        axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (how, chosen) in zip(axes, panels, strict=True):
            _panel(axis, how, chosen)
        file.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def _panel(axis: Any, how: str, rows: Sequence[tuple[str, Comparison]]) -> None:
    for place, (_, row) in enumerate(rows):
        median = Median.of(row.pairs)
        axis.plot(row.pairs, [place] * len(row.pairs), "o", color=DOTS, alpha=0.45, markersize=6, markeredgewidth=0)
        axis.plot([median.low, median.high], [place, place], "-", color=DOTS, linewidth=2)
        axis.plot([median.value], [place], "|", color=DOTS, markersize=18, markeredgewidth=3)
        if row.bound is not None:
            axis.plot([row.bound] * 2, [place - 0.4, place + 0.4], "--", color=LINE, linewidth=1.5)
    axis.set_yticks(range(len(rows)), [what for what, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.axvline(1 if how == "ratio" else 0, color=INK, linewidth=0.8)
    axis.set_xlabel("RayLLM, times by hand" if how == "ratio" else "RayLLM adds, ms")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
