"""What is not kept of the old package, and what to do instead; and how the rest says that it is old."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from rayllm.errors import RayllmError
from rayllm_backend_cai.migrate.old import Note

END = "RayLLM 0.3"
"""The first version without this package."""
_ENGINES = ("EngineRegistry", "LLMEngineProtocol", "ConfigBuilderProtocol", "DeploymentFactoryProtocol")
GONE = {
    **dict.fromkeys(
        ("get_registry", "register_engine", *_ENGINES), "engines are plugins of RayLLM: rayllm plugins new"
    ),
    "__version__": "the version is that of rayllm-backend-cai: importlib.metadata.version",
}
"""Names of the old package that are not kept, and what takes their place."""


class GoneError(RayllmError, ImportError):
    """A part of ray-serve-cai that can't be kept."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"ray_serve_cai.{name} is gone",
            cause="RayLLM's engines run as processes of their own, in no class of a program",
            cure=GONE[name],
        )


def deprecated(old: str, new: str, notes: Iterable[Note] = ()) -> None:
    """Warn at the line of the program that called a method of this package.

    Args:
        old: the call.
        new: what takes its place.
        notes: arguments that say something else now, or nothing.
    """
    told = [f"ray_serve_cai's {old} goes with {END}; now: {new}"]
    told += [f"  {note.key}: {note.text}" if note.key else f"  {note.text}" for note in notes]
    warnings.warn("\n".join(told), DeprecationWarning, stacklevel=3)
