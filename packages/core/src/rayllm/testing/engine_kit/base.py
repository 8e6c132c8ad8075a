"""What the rules for engines share: the plugin that is tested, and what its author says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from rayllm.engines import AnyEngine
from rayllm.testing.option_rules import OptionRules
from rayllm.testing.outside.look import look

_PROBE = "rayllm.testing.engine_kit.probe"


@cache
def seen(name: str, point: str, blocks: str, *, elsewhere: bool) -> dict[str, Any]:
    """The plugin from outside, once for each engine and its samples (as JSON)."""
    request = {"name": name, "point": point, "blocks": json.loads(blocks), "check": not elsewhere}
    told, printed = look(_PROBE, request, elsewhere=elsewhere)
    return {**told, "printed": printed}


class EngineRules(OptionRules):
    """Who is tested. `EngineConformance` has the rules."""

    engine: ClassVar[str]
    """The engine's name; its plugin is found as installed, by its entry point."""
    options: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """Blocks of options to try. The engine is started with the first; others set what the kit can't make up."""
    feature_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By capability, the options that switch it on, where options do."""
    _kind = "engine"

    def _name(self) -> str:
        return self.engine

    def _seen(self, *, elsewhere: bool = False) -> dict[str, Any]:
        info = self._info()
        return seen(self.engine, info.name if info else "", json.dumps(self._blocks()), elsewhere=elsewhere)

    def _found(self) -> AnyEngine:
        """The engine."""
        found: AnyEngine = self._offered()
        return found

    def _valid(self) -> Mapping[str, Any]:
        return self._blocks()[0]

    def _blocks(self) -> list[dict[str, Any]]:
        """The author's samples of options, each valid."""
        self._found()
        blocks = [dict(block) for block in self.options] or [{}]
        for block in (*blocks, *self.feature_options.values()):
            self._readable(block, "the sample")
        return blocks
