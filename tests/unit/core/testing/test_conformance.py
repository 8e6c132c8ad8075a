"""The base of the kit: a plugin's class can't weaken a rule without saying so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayllm.testing import Conformance

KIT = """
from rayllm.testing import Conformance

class Rules(Conformance):
    __module__ = "rayllm.testing.made_up"

    def test_kept(self):
        pass

    def test_broken(self):
        self._broken("it is 7", "make it 8")
"""


class _Rules(Conformance):
    """Rules as a module of the kit has them."""

    __module__ = "rayllm.testing.made_up"

    @staticmethod
    def test_one() -> None:
        """A rule."""

    @classmethod
    def _own(cls) -> None:
        """The kit's own business."""


class _Mixin:
    """What comes before the kit in a class's bases."""

    def test_one(self) -> None:
        """Replaces the rule."""


@pytest.mark.xfail
class _Marked:
    """A mixin that a mark stands over."""


@pytest.mark.parametrize(
    ("bases", "space", "said"),
    [
        ((_Rules,), {"test_one": print}, "TestX replaces test_one of the kit"),
        ((_Rules,), {"test_one": None}, "TestX replaces test_one of the kit"),
        ((_Rules,), {"_own": print, "test_one": print}, "TestX replaces _own, test_one of the kit"),
        ((_Rules,), {"_broken": print}, "TestX replaces _broken of the kit"),
        ((_Mixin, _Rules), {}, "TestX replaces test_one of the kit"),
        ((_Rules,), {"known_gaps": {"test_two": "why"}}, "TestX.known_gaps names test_two, which the kit does not"),
        ((_Rules,), {"known_gaps": {"test_one": " "}}, "TestX.known_gaps gives no reason for test_one"),
        (
            (_Rules,),
            {"pytestmark": pytest.mark.skip},
            "off with pytest.mark.skip; put a rule",
        ),
        (
            (_Rules,),
            {"pytestmark": [pytest.mark.skipif(True, reason="x")]},
            "off with pytest.mark.skipif; .* `not_run`",
        ),
        (
            (_Rules,),
            {"pytestmark": [pytest.mark.usefixtures("tmp_path"), pytest.mark.xfail(strict=False)]},
            "off with pytest.mark.xfail;",
        ),
        ((_Marked, _Rules), {}, "TestX switches rules off with pytest.mark.xfail"),
        ((_Rules,), {"__test__": False}, "TestX switches rules off with __test__"),
        ((_Rules,), {"__init__": print}, "TestX switches rules off with __init__"),
    ],
)
def test_a_class_that_weakens_the_kit_is_refused(bases: tuple[type, ...], space: dict[str, Any], said: str) -> None:
    """When it is made, whether it does so itself or a mixin does."""
    with pytest.raises(TypeError, match=said):
        type("TestX", bases, space)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (pytest.mark.skip(reason="later"), "TestX switches rules off with pytest.mark.skip"),
        (pytest.mark.xfail(strict=False), "TestX switches rules off with pytest.mark.xfail"),
        (lambda made: setattr(made, "test_one", print), "TestX replaces test_one of the kit"),
        (lambda made: setattr(made, "_broken", print), "TestX replaces _broken of the kit"),
        (lambda made: setattr(made, "known_gaps", {"test_one": ""}), "gives no reason for test_one"),
        (lambda _: setattr(_Rules, "test_one", print), "_Rules.test_one is a rule of the kit"),
    ],
)
def test_a_class_that_is_weakened_afterwards_is_refused(act: Callable[[type], object], said: str) -> None:
    """By a decorator, or by whatever sets it from outside."""
    made = type("TestX", (_Rules,), {})
    with pytest.raises(TypeError, match=said):
        act(made)


@pytest.mark.parametrize(
    "switch",
    [
        "pytestmark = pytest.mark.skip(reason='later')",
        "pytestmark = [pytest.mark.xfail(strict=False)]",
        "pytest.mark.skip(TestX.test_broken)",
        "with contextlib.suppress(TypeError):\n    TestX.test_broken = print",
    ],
)
def test_what_stands_below_the_class_is_refused_when_it_is_collected(tmp_path: Path, switch: str) -> None:
    """A module's marks, a rule's, and what was refused before without being heard."""
    told = collected(tmp_path, f"import contextlib\nimport pytest\n{KIT}\nclass TestX(Rules):\n    pass\n\n{switch}\n")
    assert "1 error" in told
    assert "put a rule into known_gaps, with a reason" in told


def test_a_class_of_ones_own_is_refused_through_its_heir() -> None:
    """A base of the plugin's between the kit and the tests changes nothing."""
    middle = type("Middle", (_Rules,), {})
    with pytest.raises(TypeError, match="replaces test_one"):
        type("TestX", (middle,), {"test_one": print})


def test_a_class_may_add_tests_and_gaps() -> None:
    """With names of their own, and a reason; marks that switch nothing off are welcome."""
    space = {
        "test_mine": print,
        "helper": print,
        "known_gaps": {"test_one": "not yet"},
        "pytestmark": pytest.mark.usefixtures("tmp_path"),
    }
    assert issubclass(type("TestX", (_Rules,), space), _Rules)


@pytest.mark.parametrize(
    ("gaps", "outcome", "said"),
    [
        ({}, "1 failed, 1 passed", "TestX breaks test_broken: it is 7\n  do  make it 8"),
        ({"test_broken": "seven is enough"}, "1 passed, 1 xfailed", "seven is enough"),
        ({"test_kept": "was needed once"}, "2 failed", "[XPASS(strict)] was needed once"),
    ],
)
def test_a_gap_is_run_and_fails_once_it_closes(tmp_path: Path, gaps: dict[str, str], outcome: str, said: str) -> None:
    """What is not kept is told in three parts; with a reason it passes, until it is kept."""
    told = collected(tmp_path, f"{KIT}\nclass TestX(Rules):\n    known_gaps = {gaps!r}\n")
    assert outcome in told
    assert said in told


def collected(folder: Path, tests: str) -> str:
    """What a pytest of its own says of a file of tests."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(tests)
    argv = [sys.executable, "-m", "pytest", "-q", "-rxXf", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False).stdout
