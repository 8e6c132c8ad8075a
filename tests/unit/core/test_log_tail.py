"""The line of an engine's log that names its error."""

from __future__ import annotations

from rayllm.serving.engine.log_tail import error_of

TRACEBACK = ["INFO starting", "Traceback (most recent call last):", '  File "server.py", line 1, in <module>']


def test_the_first_error_after_a_traceback_is_the_cause() -> None:
    """What engines end with is a wrapper, and what they mention before is something they get along with."""
    lines = ["WARNING OSError: no fast path", *TRACEBACK, "ValueError: too long", "RuntimeError: Engine failed"]
    assert error_of(lines) == "ValueError: too long"


def test_an_error_whose_words_stand_below_brings_them() -> None:
    """Its first line alone would say nothing."""
    below = ["  Value error, Model architectures ['FooForCausalLM'] are not supported for now.", "    For further"]
    lines = [*TRACEBACK, "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig", *below]
    assert error_of(lines).splitlines()[1] == below[0]
    assert error_of([*TRACEBACK, "ValueError: one of: ", "(1) this", "(2) that"]).endswith("(1) this\n(2) that")


def test_a_line_without_end_is_cut() -> None:
    """The whole is in the log."""
    assert len(error_of([*TRACEBACK, f"ValueError: choose from {'x' * 5000}"])) < 500


def test_a_log_without_an_error_gives_its_last_lines() -> None:
    """That is all there is."""
    assert error_of([str(number) for number in range(9)]) == "4\n5\n6\n7\n8"
