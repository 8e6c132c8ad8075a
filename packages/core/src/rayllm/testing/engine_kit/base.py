"""What the rules for engines share: the plugin that is tested, and what its author says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from rayllm.engines import AnyEngine
from rayllm.plugins import PluginInfo, Plugins
from rayllm.testing.conformance import Conformance
from rayllm.testing.engine_kit import samples


@cache
def installed() -> Plugins:
    """The plugins of this Python, looked up once."""
    return Plugins.discover(disabled="")


class EngineRules(Conformance):
    """Who is tested. `EngineConformance` has the rules."""

    engine: ClassVar[str]
    """The engine's name; its plugin is found as installed, by its entry point."""
    options: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """Blocks of options to try. The engine is started with the first; others set what the kit can't make up."""
    feature_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By capability, the options that switch it on, where options do."""

    def _who(self) -> str:
        info = self._info()
        name = getattr(type(self), "engine", type(self).__name__)
        return f"engine {name} ({info.distribution} {info.version})" if info else f"engine {name}"

    def _info(self) -> PluginInfo | None:
        try:
            return installed().origin_of("engine", self.engine)
        except KeyError:
            return None

    def _found(self) -> AnyEngine:
        """The engine; a rule about one that is not there says nothing."""
        found = installed().engines.get(self.engine)
        if found is None:
            pytest.skip(f"engine {self.engine} is not found, which is the first rule's failure")
        return found

    def _blocks(self) -> list[dict[str, Any]]:
        """The author's samples of options, each valid."""
        engine, blocks = self._found(), [dict(block) for block in self.options] or [{}]
        for block in (*blocks, *self.feature_options.values()):
            try:
                samples.read(engine.options, block)
            except ValidationError as error:
                told = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, told["loc"]))
                self._broken(f"the sample {dict(block)} is not valid: {where}: {told['msg']}", "set valid `options`")
        return blocks
