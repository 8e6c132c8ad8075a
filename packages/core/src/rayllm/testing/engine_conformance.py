"""The conformance kit for engines: what an engine's plugin has to keep, as tests that it inherits."""

from __future__ import annotations

from rayllm.testing.engine_kit.process_rules import ProcessRules


class EngineConformance(ProcessRules):
    """Every rule for engines.

    A plugin's whole test file:

        from rayllm.testing import EngineConformance

        class TestX(EngineConformance):
            engine = "x"

    What else its author may say of it: `options` (samples of its options), `feature_options`, `model`, `environment`,
    `ready_s`, `not_run`, and `known_gaps`.
    """
