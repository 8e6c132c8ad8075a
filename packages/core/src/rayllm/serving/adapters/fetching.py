"""From an adapter's source to its folder on this node."""

from __future__ import annotations

from pathlib import Path

from rayllm.errors import InputError
from rayllm.paths import home
from rayllm.serving.prepare.room import full_disk_told
from rayllm.serving.weights.ensure import HasSources, source_of
from rayllm.sources import FetchProgress


def fetch_adapter(source: str, report: FetchProgress, *, plugins: HasSources, image: str | None = None) -> Path:
    """The folder, fetched first if need be. Blocks.

    Args:
        source: a path, or a URI of an installed source.
        report: told what is going on.
        plugins: where the sources come from.
        image: what the engine runs in, if it does; of adapters it sees those in RayLLM's own folder.

    Raises:
        InputError: no such source, or what it names is no folder, or not seen by the engine.
        RayllmError: it can't be fetched; with the cause and what to do.
    """
    with full_disk_told(home()):
        found = source_of(source, plugins.sources).fetch(source, home() / "models", report)
    if not found.is_dir():
        cure = "name the folder with adapter_config.json"
        raise InputError(f"{found} is a file, and an adapter is a folder", cure=cure, topic="adapters")
    if image and not found.is_relative_to(home() / "models"):
        cure = f"put it under {home() / 'models'}, or name a repository or a bucket: RayLLM fetches those there"
        raise InputError(f"{found} is not in the container of {image}", cure=cure, topic="adapters")
    return found
