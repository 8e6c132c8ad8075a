"""What a shell completes beside commands and options. Whatever goes wrong, nothing is offered and nothing is said."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from rayllm.cli.options import DEFAULT_FILE


def complete_model(context: typer.Context, incomplete: str) -> list[str]:
    """The models of the file."""
    with suppress(Exception):
        return _beginning_with(incomplete, _models(context))
    return []


def complete_adapter(context: typer.Context, incomplete: str) -> list[str]:
    """The adapters of the file; those that came by command are known to the cluster alone."""
    with suppress(Exception):
        names = [name for model in _models(context).values() for name in model.get("adapters") or ()]
        return _beginning_with(incomplete, names)
    return []


def _models(context: typer.Context) -> dict[str, Any]:
    """The models of the file that `-f` names, else of the one here: read as it is, since checking takes longer."""
    import yaml

    file = Path(context.params.get("file") or DEFAULT_FILE)
    if file.stat().st_size >= 1 << 20:
        return {}
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
    return found


def complete_engine(incomplete: str) -> list[str]:
    """The engines that the installed plugins offer."""
    with suppress(Exception):
        from rayllm.plugins import Plugins

        return _beginning_with(incomplete, Plugins.discover(heard=lambda _: None).engines)
    return []


def complete_environment(incomplete: str) -> list[str]:
    """The environments on this machine."""
    with suppress(Exception):
        from rayllm.paths import home

        folders = [path.name for path in (home() / "environments").iterdir() if path.is_dir()]
        return _beginning_with(incomplete, folders)
    return []


def complete_kind(incomplete: str) -> list[str]:
    """What a plugin may offer."""
    with suppress(Exception):
        from rayllm.scaffold import EDIT

        return _beginning_with(incomplete, EDIT)
    return []


def complete_plugin(incomplete: str) -> list[str]:
    """The installed plugins; none is imported."""
    with suppress(Exception):
        from rayllm.entry_points import installed

        return _beginning_with(incomplete, [point.name for point in installed()[0]])
    return []


def complete_topic(incomplete: str) -> list[str]:
    """What `rayllm explain` tells of."""
    with suppress(Exception):
        from rayllm.cli.explain import sections

        return _beginning_with(incomplete, sections())
    return []


def _beginning_with(incomplete: str, names: Iterable[object]) -> list[str]:
    return sorted(text for text in map(str, names) if text.startswith(incomplete))
