"""Is an engine busy, hung, dying: read off its metrics and its log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayllm import Device, Gauges
from rayllm.serving.autoscaling import follow_engine_load
from rayllm.serving.engine.health import HangWatch, hang_s
from rayllm.serving.engine.load import Load, parse_load
from rayllm.serving.engine.log_tail import error_of, tail

GAUGES = Gauges(running="vllm:num_requests_running", waiting="vllm:num_requests_waiting", generated="vllm:tokens_total")


def test_metrics_are_summed_over_their_labels() -> None:
    """Whatever stands in a label; comments and other metrics do not count."""
    text = """
# HELP vllm:num_requests_running 9
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b} 7"} 2.0
vllm:num_requests_running{engine="1"} 1.0
vllm:num_requests_running_total{engine="1"} 50.0
vllm:num_requests_waiting 4
vllm:tokens_total{engine="0"} 1.25e+06 1700000000000
vllm:tokens_total{engine="1"} NaN
"""
    load = parse_load(text, GAUGES)
    assert load == Load(running=3, waiting=4, generated=1_250_000)
    assert load.ongoing == 7


@pytest.mark.parametrize("text", ["", "<html>busy</html>", "other:num_requests_running 0\n", "vllm:tokens_total x\n"])
def test_metrics_that_are_not_there_are_not_zero(text: str) -> None:
    """An engine that calls them otherwise would pass for idle, and be ended in the middle of its work."""
    assert parse_load(text, GAUGES) is None


def looks(*seen: tuple[float, Load]) -> list[float]:
    """How long the engine was stuck, at each look."""
    watch = HangWatch()
    return [watch.stuck_for(load, now) for now, load in seen]


def test_an_engine_that_makes_tokens_is_at_work() -> None:
    """Each new token counts anew."""
    assert looks((0, Load(1, 0, 5)), (50, Load(1, 0, 6)), (90, Load(1, 0, 6)), (100, Load(1, 0, 7))) == [0, 0, 40, 0]


def test_an_engine_with_requests_and_no_tokens_is_stuck() -> None:
    """Also one that hangs before it takes them up."""
    assert looks((0, Load(2, 0, 5)), (30, Load(2, 0, 5)), (61, Load(3, 0, 5))) == [0, 30, 61]
    assert looks((0, Load(0, 1, 5)), (30, Load(0, 2, 5)), (61, Load(1, 2, 5))) == [0, 30, 61]


def test_an_idle_engine_is_not_stuck() -> None:
    """Time counts from its first request."""
    idle, busy = Load(0, 0, 5), Load(1, 0, 5)
    assert looks((0, idle), (500, idle), (501, busy), (511, busy), (512, idle), (600, busy)) == [0, 0, 0, 10, 0, 0]


def test_an_engine_that_never_generates_is_not_stuck() -> None:
    """One that serves embeddings may be busy for hours."""
    assert looks((0, Load(2, 1, 0)), (500, Load(2, 1, 0))) == [0, 0]


def test_a_cpu_may_read_a_prompt_for_minutes() -> None:
    """Before its first token."""
    assert hang_s(Device(kind="cpu")) > hang_s(Device(kind="cuda")) == 60


def test_the_end_of_a_log(tmp_path: Path) -> None:
    """The last lines that say something."""
    log = tmp_path / "log"
    assert tail(log) == []
    log.write_text("")
    assert tail(log) == []
    log.write_bytes(b"one\n\n  \ntwo\r\nbroken \xff\nthree")
    assert tail(log) == ["one", "two", "broken �", "three"]
    assert tail(log, 2) == ["broken �", "three"]


def test_the_end_of_a_large_log(tmp_path: Path) -> None:
    """Read from near its end, without the line that is cut; one endless line is shown as far as it goes."""
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number:06}" for number in range(50_000)))
    lines = tail(log, 100_000)
    assert lines[-1] == "line 049999"
    assert all(len(line) == len("line 000000") for line in lines)
    log.write_text("x" * 200_000)
    assert len(tail(log)[0]) == 64 * 1024


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["loading", "ValueError: no such model"], "ValueError: no such model"),
        (
            [
                "INFO ImportError: flash_attn is not there, going on without",
                "ERROR Traceback (most recent call last):",
                "ERROR   File x, line 1",
                "(EngineCore pid=7) ERROR torch.OutOfMemoryError: CUDA out of memory",
                "Traceback (most recent call last):",
                "RuntimeError: Engine core initialization failed",
            ],
            "torch.OutOfMemoryError: CUDA out of memory",
        ),
        (
            ["ImportError: no torch", "Traceback (most recent call last):", "  File x"],
            "ImportError: no torch",
        ),
        (["KeyboardInterrupt: stop"], "KeyboardInterrupt: stop"),
        ([str(number) for number in range(9)], "4\n5\n6\n7\n8"),
        ([], ""),
    ],
)
def test_the_error_of_a_log(lines: list[str], error: str) -> None:
    """The one that explains the others."""
    assert error_of(lines) == error


def scaled(**seen: Any) -> int:
    """How many replicas the policy wants, of 1 to 4, for 2 requests each."""
    context = SimpleNamespace(
        **{
            "aggregated_metrics": None,
            "total_num_requests": 0,
            "config": SimpleNamespace(target_ongoing_requests=2.0),
            "capacity_adjusted_min_replicas": 1,
            "capacity_adjusted_max_replicas": 4,
            **seen,
        }
    )
    count, state = follow_engine_load(context)
    assert state == {}
    return count


def test_replicas_follow_the_engines_load() -> None:
    """Rounded up, within the bounds; Serve's own count where it holds more, as before the first replica."""
    assert scaled() == 1
    assert scaled(aggregated_metrics={"ongoing": {"r1": 2.0, "r2": 3.0}}) == 3
    assert scaled(aggregated_metrics={"ongoing": {"r1": 100.0}}) == 4
    assert scaled(aggregated_metrics={}, total_num_requests=4) == 2
    assert scaled(capacity_adjusted_min_replicas=0) == 0
    assert scaled(capacity_adjusted_min_replicas=0, total_num_requests=1) == 1
