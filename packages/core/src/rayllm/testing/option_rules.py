"""Rules for plugins that take options: what a person writes there is checked, and described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rayllm.testing.engine_kit.samples import read
from rayllm.testing.plugin_rules import PluginRules

_UNKNOWN = "nobody_has_this_option"


class OptionRules(PluginRules):
    """Options of an engine or a backend."""

    def _valid(self) -> Mapping[str, Any]:
        """A block of options that is valid."""
        raise NotImplementedError

    def _readable(self, block: Mapping[str, Any], what: str) -> None:
        """Fail unless a block of the author's own is valid."""
        try:
            read(self._offered().options, block)
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, told["loc"]))
            self._broken(f"{what} {dict(block)} is not valid: {where}: {told['msg']}", "set valid `options`")

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelt option is an error, never silently left out, and options don't change once they are read."""
        options, valid = self._offered().options, self._valid()
        try:
            taken = read(options, {**valid, _UNKNOWN: 1})
        except ValidationError:
            if not read(options, valid).model_config.get("frozen"):
                self._broken("its options can be changed once they are read", "leave Options' model_config as it is")
            return
        self._broken(f"its options take {_UNKNOWN}: {taken!r}", "leave Options' model_config as it is")

    def test_every_option_is_described(self) -> None:
        """In words that stand in error texts, in `rayllm schema` and in editors."""
        for name, field in self._offered().options.model_fields.items():
            if not (field.description or "").strip():
                self._broken(f"the option {name} has no description", "write a docstring below the field")

    def test_its_options_have_a_json_schema(self) -> None:
        """Editors complete files with it."""
        options = self._offered().options
        try:
            json.dumps(options.model_json_schema())
        # pydantic's own errors, and whatever a plugin's own types raise.
        except Exception as error:  # noqa: BLE001
            self._broken(f"its options have no JSON schema: {error}", "use types that JSON has")
