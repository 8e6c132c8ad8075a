"""The fake engine keeps the kit's rules: who tests with it meets an engine as it should be."""

from __future__ import annotations

from rayllm.testing import EngineConformance


class TestFake(EngineConformance):
    """A quarter of a minute for the longest answer that the kit asks for, so that a client can leave before its end."""

    engine = "fake"
    options = ({"token_s": 0.03},)
