"""From results to pages: `docs/benchmarks.md`, and the short table in the README, each between its marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.pairs import Median
from benchmarks.results import Comparison, Figure, Result, SideBySide

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
PICTURES, PICTURED = "benchmarks", ("µs", "MiB")
HEAD = "| what | RayLLM | compared with | median of the pairs (95 %) | wanted | |\n|---|---|---|---|---|---|\n"


def between_marks(page: str, content: str) -> str:
    """The page with `content` between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks")
    return f"{before}{BEGIN}\n{content}{END}{after}"


def page(results: Sequence[Result]) -> str:
    """Every figure of every subject."""
    return "\n".join(_section(result) for result in results)


def short(results: Sequence[Result]) -> str:
    """The headlines of all subjects, for the README, and what was missed: nobody has to look for that."""
    shown = ((result, row) for result in results for row in _rows(result) if row.headline or row.verdict == "missed")
    rows = [_row(row, f"{result.label}: ") for result, row in shown]
    return HEAD + "".join(rows)


def read_all(folder: Path) -> list[Result]:
    """The last result of every subject."""
    return [Result.read(file) for file in sorted(folder.glob("*.json"))]


def _rows(result: Result) -> list[Comparison | Figure]:
    return [*result.comparisons, *result.figures]


def _section(result: Result) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    told = f"{result.date}, {result.machine}; {versions}. {result.method[:1].upper()}{result.method[1:]}."
    rows = "".join(map(_row, _rows(result)))
    picture = f"![{result.title}: every value as a dot]({PICTURES}/{result.subject}.svg)\n\n" if drawn(result) else ""
    return f"## {result.title}\n\n{told}\n\n{picture}{_side_by_side(result.side_by_side)}{HEAD}{rows}"


def drawn(result: Result) -> list[SideBySide]:
    """The quantities of programs side by side that have a picture: processor time and memory."""
    return [row for row in result.side_by_side if row.unit in PICTURED]


def _side_by_side(rows: Sequence[SideBySide]) -> str:
    """A table with a column for each program: medians, and their intervals."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    lines = [f"| what | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in rows:
        cells = (_median(row.values[name]) if row.values.get(name) else "" for name in names)
        lines.append(f"| {row.what}, {row.unit} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def _median(values: Sequence[float]) -> str:
    own = Median.of(values)
    return f"{_number(own.value)} ({_number(own.low)} to {_number(own.high)})" if own.count > 1 else _number(own.value)


def _row(row: Comparison | Figure, label: str = "") -> str:
    if isinstance(row, Figure):
        own = Median.of(row.values)
        spread = f" ({_number(own.low)} to {_number(own.high)})" if own.count > 1 else ""
        wanted = "" if row.bound is None else f"≤ {_number(row.bound)} {row.unit}"
        return f"| {label}{row.what} | {_number(own.value)} {row.unit}{spread} | | | {wanted} | {row.verdict or ''} |\n"
    ours, theirs, pairs = Median.of(row.ours), Median.of(row.theirs), Median.of(row.pairs)
    unit, sign = ("", "") if row.how == "ratio" else (f" {row.unit}", "+")
    median = f"{pairs.value:{sign}.3g}{unit} ({pairs.low:{sign}.3g} to {pairs.high:{sign}.3g})"
    wanted = "" if row.bound is None else f"{'≥' if row.at_least else '≤'} {_number(row.bound)}{unit}"
    return (
        f"| {label}{row.what} | {_number(ours.value)} {row.unit} | {row.beside}: {_number(theirs.value)} {row.unit}"
        f" | {median} | {wanted} | {row.verdict or ''} |\n"
    )


def _number(value: float) -> str:
    """Three digits, more where they stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
