"""The base of the conformance kit: tests that a plugin inherits, and can't weaken without saying so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import getattr_static
from typing import Any, ClassVar, NoReturn

import pytest

_KIT = "rayllm.testing."


class Conformance:
    """Rules as tests; a plugin's test class derives from one of the kit's classes and names what it tests.

    A rule is a method whose name begins with `test_`. A plugin's class may add tests of its own, and may not replace a
    rule or anything else of the kit that begins with an underscore. A rule that the plugin does not keep yet stands in
    `known_gaps`: it is run all the same, and fails once the plugin keeps it, so that the gap is taken off the list.

    Raises:
        TypeError: when a class is made that replaces a rule, or names a gap that is no rule or gives no reason for it.
    """

    known_gaps: ClassVar[Mapping[str, str]] = {}
    """Rules that are not kept yet, by the name of their test, and why."""

    def __init_subclass__(cls, **told: Any) -> None:
        """Hold a plugin's class to the rules it inherits."""
        super().__init_subclass__(**told)
        if cls.__module__.startswith(_KIT):
            return
        fixed = _fixed(cls)
        changed = sorted(name for name, value in fixed.items() if getattr_static(cls, name, None) is not value)
        if changed:
            what = ", ".join(changed)
            raise TypeError(f"{cls.__name__} replaces {what} of the kit; put a rule into known_gaps, with a reason")
        rules = {name for name in fixed if name.startswith("test_")}
        if unknown := sorted(set(cls.known_gaps) - rules):
            raise TypeError(f"{cls.__name__}.known_gaps names {', '.join(unknown)}, which the kit does not have")
        if bare := sorted(name for name, reason in cls.known_gaps.items() if not reason.strip()):
            raise TypeError(f"{cls.__name__}.known_gaps gives no reason for {', '.join(bare)}")

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


def _fixed(cls: type) -> dict[str, Any]:
    """What the kit's own bases of a class define that a plugin's class may not replace."""
    return dict(_of_the_kit(cls))


def _of_the_kit(cls: type) -> Iterator[tuple[str, Any]]:
    kit = [base for base in cls.__mro__ if base.__module__.startswith(_KIT)]
    for base in reversed(kit):
        for name in vars(base):
            if name.startswith("test_") or (name.startswith("_") and not name.startswith("__")):
                yield name, getattr_static(kit[0], name)
