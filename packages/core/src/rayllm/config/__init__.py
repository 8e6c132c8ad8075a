"""The YAML file: read with positions, checked in one pass."""

from __future__ import annotations

from rayllm.config.check import Checked, load
from rayllm.config.problems import ConfigErrors, Problem, Verdict

__all__ = ["Checked", "ConfigErrors", "Problem", "Verdict", "load"]
