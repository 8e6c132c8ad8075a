"""Rules for engines: the process starts, and says what it serves."""

from __future__ import annotations

from typing import ClassVar

import pytest

from rayllm.testing.engine_kit import samples
from rayllm.testing.engine_kit.command_rules import CommandRules
from rayllm.testing.engine_kit.served import Served, Wanted, start
from rayllm.testing.plugin_rules import installed

GENERATES = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
"""Features that are a text, and where it is asked for."""
RUNNING: dict[type, Served | str] = {}
"""By test class: its process, or why there is none."""


class ReadyRules(CommandRules):
    """The process starts, and says what it serves."""

    model: ClassVar[str | None] = None
    """What it serves: a path or a URI as under `source:`; None for an engine that needs no model."""
    environment: ClassVar[str] = "auto"
    """Whose Python runs it, as under `environment:`. `auto` builds what the engine requires, below `$RAYLLM_HOME`."""
    ready_s: ClassVar[float] = 300.0
    """Seconds that it may take to start."""
    not_run: ClassVar[str] = ""
    """Why it can't be run here ("needs a GPU"): then the rules about its process are skipped, with this reason."""

    def _served(self, request: pytest.FixtureRequest) -> Served:
        """The process, started by whichever rule comes first and ended behind the last one of the class."""
        if self.not_run:
            pytest.skip(self.not_run)
        engine, block = self._found(), self._blocks()[0]
        key = type(self)
        if key not in RUNNING:
            wanted = Wanted(
                engine=engine, options=block, environment=self.environment, model=self.model, ready_s=self.ready_s
            )
            try:
                made = start(wanted, installed())
            # Whatever keeps it from being started is the first rule's failure.
            except Exception as error:  # noqa: BLE001
                RUNNING[key] = f"{type(error).__name__}: {error}"
            else:
                RUNNING[key] = made.failure or made
                whole = request.node.getparent(pytest.Class) or request.node
                whole.addfinalizer(made.stop)
            whole = request.node.getparent(pytest.Class) or request.node
            whole.addfinalizer(lambda: RUNNING.pop(key, None))
        found = RUNNING[key]
        if isinstance(found, str):
            if self._rule == "test_it_gets_ready":
                self._broken(found, "see what keeps it from serving; `not_run` if it can't run here")
            pytest.skip("it did not get ready, which is another rule's failure")
        return found

    def _path(self) -> str:
        """Where it is asked for a text."""
        path = next((path for word, path in GENERATES.items() if word in samples.able_here(self._found())), None)
        return path or pytest.skip("it declares neither chat nor completions")

    def test_it_gets_ready(self, request: pytest.FixtureRequest) -> None:
        """Its `ready` path answers 200 once it can serve, and not before."""
        if early := self._served(request).early:
            do = "answer 200 at Command.ready only once requests can be served"
            self._broken(f"it calls itself ready while {' and '.join(early)}", do)

    def test_it_lists_its_model(self, request: pytest.FixtureRequest) -> None:
        """A replica that sees another name under /v1/models does not serve."""
        answer = self._served(request).ask("GET", "/v1/models")
        try:
            listed = [entry["id"] for entry in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            self._broken(f"/v1/models answers {answer.text[:200]!r}", 'answer {"data": [{"id": MODEL_NAME}]}')
        if samples.MODEL_NAME not in listed:
            self._broken(f"/v1/models lists {listed}", "list launch.model_name")
