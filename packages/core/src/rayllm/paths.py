"""Where RayLLM keeps things on a machine."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`$RAYLLM_HOME`, else `~/.rayllm`. Holds `environments/`, `models/`, `arguments/`, `clusters/` and `run/`."""
    return Path(os.environ.get("RAYLLM_HOME") or Path.home() / ".rayllm")
