"""The entry points of the installed plugins, and what can be told of one without importing it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from rayllm.errors import PluginError
from rayllm.plugin_info import CORE, PluginInfo, cause_of

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

GROUP = "rayllm"
OBSERVER = "observer-"
"""What the name of an entry point begins with that is imported when the first event happens, and not before."""


def order(point: EntryPoint) -> tuple[bool, str, str]:
    """The order of loading: core, then by name."""
    return (point.value != CORE, point.name, point.value)


def installed() -> tuple[list[EntryPoint], list[PluginInfo]]:
    """The entry points of all installed distributions, and the distributions whose entry points can't be read."""
    try:
        return list(importlib.metadata.entry_points(group=GROUP)), []
    except Exception:  # noqa: BLE001 - one damaged file of anybody's fails the whole call
        found: list[EntryPoint] = []
        damaged = list(_read_one_by_one(found))
        return found, damaged


def _read_one_by_one(found: list[EntryPoint]) -> Iterator[PluginInfo]:
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name, version = _name_of(distribution)
        if name in seen:  # the first on the path is the one that is imported
            continue
        seen.add(name)
        try:
            found += [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as error:  # noqa: BLE001 - whatever the standard library makes of it
            yield PluginInfo(
                name=name,
                module="",
                distribution=name,
                version=version,
                state="broken",
                cause=f"its entry_points.txt can't be read: {cause_of(error)}",
                cure=f"install {name} again, or uninstall it",
            )


def _name_of(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    try:
        return distribution.metadata["Name"] or "unknown", distribution.metadata["Version"] or "unknown"
    except Exception:  # noqa: BLE001 - its METADATA is damaged, too
        return "unknown", "unknown"


def require_our_version(point: EntryPoint) -> None:
    """Refuse a plugin whose range of rayllm-core this one is out of: pip only warns of that, and installs it."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = [line for line in (point.dist.requires or []) if "rayllm" in line] if point.dist else []
    if not wanted:
        return
    from packaging.requirements import Requirement

    try:
        ours = version("rayllm-core")
    except PackageNotFoundError:  # the code bundle on a node has no metadata
        return
    for line in map(Requirement, wanted):
        if line.name.replace("_", "-").lower() == "rayllm-core" and not line.specifier.contains(ours, prereleases=True):
            cure = f'pip install "{line}"' if _is_newer(line.specifier, ours) else None
            raise PluginError(f"it is built for rayllm-core {line.specifier}, and this is {ours}", cure=cure)


def _is_newer(wanted: SpecifierSet, ours: str) -> bool:
    """Whether our version is below the range: then it is we who should be upgraded."""
    from packaging.version import Version

    lowest = [Version(one.version.removesuffix(".*")) for one in wanted if one.operator in {">=", ">", "~=", "=="}]
    return any(bound > Version(ours) for bound in lowest)
