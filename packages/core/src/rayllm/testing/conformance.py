"""The base of the conformance kit: tests that a plugin inherits, and can't weaken without saying so."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from inspect import getattr_static
from typing import Any, ClassVar, NoReturn

import pytest

_KIT = "rayllm.testing."
_OFF = frozenset({"skip", "skipif", "xfail"})
"""Marks of pytest that let a rule fail, or not run, without a word of why."""
_UNCOLLECTED = ("__test__", "__init__", "__new__")
"""With these of its own, pytest passes over a class."""
_INSTEAD = "put a rule into known_gaps, with a reason"


class _Held(type):
    """Holds a plugin's class to the rules also behind its `class` statement: pytest's marks are set from outside."""

    def __setattr__(cls, name: str, value: Any) -> None:
        if cls.__module__.startswith(_KIT) and name.startswith("test_"):
            raise TypeError(f"{cls.__name__}.{name} is a rule of the kit; {_INSTEAD}")
        super().__setattr__(name, value)
        _hold(cls)

    def __call__(cls, *args: Any, **named: Any) -> Any:
        """Look once more when pytest collects: a module's own marks may stand below its classes."""
        _hold(cls)
        return super().__call__(*args, **named)


class Conformance(metaclass=_Held):
    """Rules as tests; a plugin's test class derives from one of the kit's classes and names what it tests.

    A rule is a method whose name begins with `test_`. A plugin's class may add tests of its own, and may not replace a
    rule or anything else of the kit that begins with an underscore, nor be marked with pytest's `skip`, `skipif` or
    `xfail`. A rule that the plugin does not keep yet stands in `known_gaps`: it is run all the same, and fails once the
    plugin keeps it, so that the gap is taken off the list.

    Raises:
        TypeError: when a class replaces a rule or switches it off, or names a gap that is no rule or gives no reason
            for it.
    """

    known_gaps: ClassVar[Mapping[str, str]] = {}
    """Rules that are not kept yet, by the name of their test, and why."""

    def __init_subclass__(cls, **told: Any) -> None:
        """Hold a plugin's class to the rules it inherits."""
        super().__init_subclass__(**told)
        _hold(cls)

    @pytest.fixture(autouse=True)
    def _gap(self, request: pytest.FixtureRequest) -> None:
        self._rule: str = getattr(request.node, "originalname", None) or request.node.name
        if reason := self.known_gaps.get(self._rule):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def _who(self) -> str:
        """The plugin that is held to the rules, as a failure names it."""
        return type(self).__name__

    def _broken(self, seen: str, do: str) -> NoReturn:
        """Fail the rule that is being tested.

        Args:
            seen: what the plugin did instead, with the values that show it.
            do: what its author changes.
        """
        pytest.fail(f"{self._who()} breaks {self._rule}: {seen}\n  do  {do}", pytrace=False)


def _hold(cls: type) -> None:
    """Refuse a plugin's class that replaces rules or switches them off.

    Raises:
        TypeError: it does.
    """
    if cls.__module__.startswith(_KIT):
        return
    fixed = dict(_of_the_kit(cls))
    if changed := sorted(name for name, value in fixed.items() if getattr_static(cls, name, None) is not value):
        raise TypeError(f"{cls.__name__} replaces {', '.join(changed)} of the kit; {_INSTEAD}")
    if off := _switches(cls, fixed):
        why = "`not_run` says why an engine's process can't be run here"
        raise TypeError(f"{cls.__name__} switches rules off with {', '.join(off)}; {_INSTEAD}; {why}")
    rules = {name for name in fixed if name.startswith("test_")}
    gaps: Mapping[str, str] = getattr(cls, "known_gaps", {})
    if unknown := sorted(set(gaps) - rules):
        raise TypeError(f"{cls.__name__}.known_gaps names {', '.join(unknown)}, which the kit does not have")
    if bare := sorted(name for name, reason in gaps.items() if not reason.strip()):
        raise TypeError(f"{cls.__name__}.known_gaps gives no reason for {', '.join(bare)}")


def _of_the_kit(cls: type) -> Iterator[tuple[str, Any]]:
    """What the kit's own bases of a class define that a plugin's class may not replace."""
    kit = [base for base in cls.__mro__ if base.__module__.startswith(_KIT)]
    for base in reversed(kit):
        for name in vars(base):
            if name.startswith("test_") or (name.startswith("_") and not name.startswith("__")):
                yield name, getattr_static(kit[0], name)


def _switches(cls: type, fixed: Mapping[str, Any]) -> list[str]:
    """How pytest would be told to pass over rules: by marks of the class, of its module, of a rule, or by no class."""
    marked = [sys.modules.get(cls.__module__), *(vars(base) for base in cls.__mro__), *fixed.values()]
    names = {mark.name for holder in marked for mark in _marks(holder)}
    own = [name for name in _UNCOLLECTED for base in cls.__mro__[:-1] if name in vars(base)]
    return [*(f"pytest.mark.{name}" for name in sorted(names & _OFF)), *dict.fromkeys(own)]


def _marks(holder: Any) -> Iterator[pytest.Mark]:
    """Marks of a module, of a class's own names, or of a function."""
    found = holder.get("pytestmark") if isinstance(holder, Mapping) else getattr(holder, "pytestmark", None)
    for mark in found if isinstance(found, list) else [found]:
        made = getattr(mark, "mark", mark)
        if isinstance(made, pytest.Mark):
            yield made
