"""What the benchmarks' numbers are made of: intervals, verdicts, and pages that show the values that are kept."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import many_plugins
from benchmarks.gateway import scale
from benchmarks.gateway.client import Work, whole
from benchmarks.gateway.contenders import Side
from benchmarks.gateway.mock import answer_of, chunks_of
from benchmarks.pairs import Median, outside, percentile
from benchmarks.report import BEGIN, END, between_marks, page, read_all, short
from benchmarks.results import Comparison, Figure, Result, SideBySide

ROOT = Path(__file__).parents[3]


def comparison(ours: list[float], theirs: list[float], **more: object) -> Comparison:
    """A ratio that should be 0.97 at least."""
    told = {"how": "ratio", "bound": 0.97, "at_least": True, **more}
    return Comparison(what="tokens", unit="tokens/s", ours=ours, theirs=theirs, beside="by hand", **told)  # type: ignore[arg-type]


def result(**more: object) -> Result:
    """A run with one comparison and one figure."""
    told = {"comparisons": [comparison([9.9] * 6, [10.0] * 6, headline=True)], **more}
    figures = [Figure(what="validate", unit="ms", values=[321.0, 300.0], bound=1000)]
    return Result(subject="it", title="It", label="it", method="by trying", figures=figures, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "left_out"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (20, 5)])
def test_the_interval_leaves_out_what_a_sign_test_allows(count: int, left_out: int) -> None:
    """As the tables of the sign test say for 95 %."""
    assert outside(count) == left_out


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    """For a lopsided distribution, too."""
    source = random.Random(1)  # noqa: S311
    runs = [Median.of([source.expovariate(1) for _ in range(12)]) for _ in range(2000)]
    inside = sum(run.low <= 0.6931 <= run.high for run in runs) / len(runs)
    assert 0.95 <= inside <= 0.98


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.98, 0.99, 1.0, 1.01, 0.985, 0.99], "kept"),
        ([0.97] * 6, "kept"),
        ([0.90, 0.91, 0.92, 0.93, 0.94, 0.95], "missed"),
        ([0.95, 0.99, 1.0, 1.01, 0.985, 0.99], "not resolved here"),
        ([0.98, 0.99, 1.0, 1.01, 0.985], "not resolved here"),
    ],
)
def test_a_bound_is_kept_missed_or_not_resolved(values: list[float], verdict: str) -> None:
    """Not resolved where the interval reaches across it, or from fewer than six pairs."""
    assert comparison(values, [1.0] * len(values)).verdict == verdict


def test_an_upper_bound() -> None:
    """Of a difference: at most 5 ms more."""
    fine = comparison([15.0] * 6, [11.0] * 6, how="difference", bound=5.0, at_least=False)
    assert (fine.verdict, fine.pairs) == ("kept", [4.0] * 6)
    assert comparison([17.0] * 6, [11.0] * 6, how="difference", bound=5.0, at_least=False).verdict == "missed"


def test_pairs_belong_together() -> None:
    """A side that lacks a value is a mistake, not a shorter list."""
    with pytest.raises(ValueError, match="shorter"):
        _ = comparison([1.0, 2.0], [1.0]).pairs


def test_percentiles() -> None:
    """The nearest rank."""
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7


def test_a_result_is_what_was_written(tmp_path: Path) -> None:
    """Every value, and where and when it was taken."""
    told = result(side_by_side=[SideBySide(what="CPU", unit="µs", values={"a": [2.0]})])
    told.write(tmp_path)
    assert read_all(tmp_path) == [told]
    assert "cores of" in told.machine


def test_a_page_shows_both_sides_and_the_verdict() -> None:
    """The README only what is a headline."""
    row = "tokens | 9.9 tokens/s | by hand: 10 tokens/s | 0.99 (0.99 to 0.99) | ≥ 0.97 | kept |"
    assert f"| {row}" in page([result()])
    assert "| validate | 310 ms (300 to 321) | | | ≤ 1000 ms | not resolved here |" in page([result()])
    assert f"| it: {row}" in short([result()])
    assert "validate" not in short([result()])


def test_what_is_missed_stands_in_the_readme() -> None:
    """Headline or not, and a figure as well as a comparison; what is kept or not resolved only as a headline."""
    slow = [
        Figure(what="slow", unit="s", values=[3.0] * 6, bound=2),
        Figure(what="quick", unit="s", values=[1.0] * 6, bound=2),
    ]
    rows = {name: comparison([value] * 6, [1.0] * 6) for name, value in (("worse", 0.9), ("better", 0.99))}
    told = replace(result(comparisons=[replace(row, what=what) for what, row in rows.items()]), figures=slow)
    text = short([told])
    assert [name for name in ("worse", "better", "slow", "quick", "validate") if name in text] == ["worse", "slow"]


def test_a_table_has_a_column_for_each_program() -> None:
    """Empty where one has no value."""
    rows = [
        SideBySide(what="CPU", unit="µs", values={"a": [2.0], "b": [1.0, 3.0]}),
        SideBySide(what="x", unit="s", values={"b": [1.0]}),
    ]
    text = page([result(side_by_side=rows)])
    assert "| what | a | b |\n|---|---|---|\n| CPU, µs | 2 | 2 (1 to 3) |\n| x, s |  | 1 |\n" in text


def in_pieces(body: bytes, size: int) -> bytes:
    """An answer in HTTP chunks of so many bytes, wherever that parts a word."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_the_load_client_tells_a_whole_answer_from_a_cut_one(size: int) -> None:
    """However the gateway cuts it in HTTP chunks; a word, the end or the status may lack."""
    events = chunks_of(5)
    work = Work(port=1, tokens=5, stream=True)
    assert whole(in_pieces(b"".join(events), size), work)
    assert not whole(in_pieces(b"".join(events[1:]), size), work)
    assert not whole(in_pieces(b"".join(events[:-1]), size), work)
    assert not whole(in_pieces(b"".join(events), size).replace(b"200 OK", b"503 No", 1), work)
    assert whole(in_pieces(answer_of(5), size), Work(port=1, tokens=5))
    assert not whole(in_pieces(answer_of(4), size), Work(port=1, tokens=5))


PROFILE = """Tasks activity:
  function                      calls   cpu_tot   cpu_avg   lat_tot   lat_avg
  process_chk                    {0}   654.7us   27.28us   6.179us   257.0ns <- wake_srv_chk@src/check.c:1094
  process_chk                      21   2.025ms   96.41us   18.97us   903.0ns <- wake_expired_tasks@src/task.c:350
  process_stream+0                  2   19.00us   9.499us   481.0ns   240.0ns <- sc_notify@src/stconn.c:1140
"""


@pytest.mark.parametrize(("shown", "rate"), [([0, 24], 2.0), ([7, 9], 1 / 6), ([7, 7], None)])
def test_health_checks_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[int], rate: float | None
) -> None:
    """As HAProxy counts them, over whole rounds of them; none at all is a mistake of the benchmark."""
    told = iter([PROFILE.format(count) for count in shown])
    (tmp_path / "haproxy.cfg").write_text("default-server check inter 6s fastinter 500ms\n")
    monkeypatch.setattr(
        "benchmarks.gateway.scale.sockets.ask", lambda *asked: next(told) if "show" in asked[-1] else ""
    )
    waited: list[float] = []
    monkeypatch.setattr("benchmarks.gateway.scale.time.sleep", waited.append)
    side = Side("it", 1, list)
    if rate is None:
        with pytest.raises(SystemExit, match="it: no health check within 12 s"):
            scale.at_rest(side, tmp_path, scale.FULL)
    else:
        assert scale.at_rest(side, tmp_path, scale.FULL).checks == pytest.approx(rate)
    assert waited == [12]


def test_only_what_is_between_the_marks_changes() -> None:
    """And a page without marks is a mistake."""
    assert between_marks(f"a\n{BEGIN}\nold\n{END}\nb", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="no marks"):
        between_marks("a", "new")


def test_the_pages_show_the_values_that_are_kept() -> None:
    """Nobody edits a table by hand."""
    results = read_all(ROOT / "docs/benchmarks")
    assert results
    for file, content in (("README.md", short(results)), ("docs/benchmarks.md", page(results))):
        text = (ROOT / file).read_text()
        assert between_marks(text, content) == text


def test_many_plugins_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As installed ones are: each a distribution with an engine."""
    from importlib.metadata import distributions

    from rayllm.plugins import Plugins

    many_plugins.write(tmp_path, 3)
    monkeypatch.syspath_prepend(tmp_path)
    points = itertools.chain.from_iterable(found.entry_points for found in distributions(path=[str(tmp_path)]))
    infos = Plugins.discover(points, disabled="").infos
    assert [(info.state, info.offers) for info in infos] == [("loaded", (f"engine x{number}",)) for number in range(3)]
