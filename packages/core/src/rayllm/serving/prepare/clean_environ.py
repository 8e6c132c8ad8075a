"""The environment of the tools that a replica runs: the node's own, without what Ray and a Python add to it."""

from __future__ import annotations

import os
from collections.abc import Mapping

_DROPPED = ("RAY", "PYTHON", "VIRTUAL_ENV", "CONDA_", "OMP_NUM_THREADS", "__PYVENV_LAUNCHER__")


def clean_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`os.environ` (or `environ`) without Ray's, RayLLM's and the running interpreter's variables.

    PYTHONPATH or VIRTUAL_ENV would lead another interpreter into this one's packages; OMP_NUM_THREADS is Ray's doing.
    """
    source = os.environ if environ is None else environ
    return {name: value for name, value in source.items() if not name.startswith(_DROPPED)}
