"""Which version of an engine: from a model's `version:` to what has to be installed. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from rayllm.engines import AnyEngine, Device, Environment

_WHOLE = 3
"""Numbers of a version from which on it means that one alone; fewer mean all that begin so."""


def specifier_of(version: str) -> SpecifierSet:
    """Which versions a person means: `0.32` is `==0.32.*`, and `0.32.0` is `==0.32.0` (PEP 440).

    Raises:
        ValueError: it is no version.
    """
    if re.fullmatch(r"\d+(\.\d+)*", version) and len(version.split(".")) < _WHOLE:
        return SpecifierSet(f"=={version}.*")
    try:
        return SpecifierSet(f"=={Version(version)}")
    except InvalidVersion:
        raise ValueError(f"{version!r} is not a version like 0.32 or 0.32.0") from None


def pinned_version(environment: Environment) -> str | None:
    """The engine's version in an environment that names it exactly; None for one that does not."""
    name = _name(environment)
    for line in environment.requires:
        found = Requirement(line)
        if found.name == name:
            exact = [one.version for one in found.specifier if one.operator == "==" and "*" not in one.version]
            return exact[0] if len(exact) == 1 else None
    return None


def is_pinned(environment: Environment, version: str | None) -> bool:
    """Whether `version` (None: whichever the plugin is made for) is the one that `environment` names.

    Raises:
        ValueError: it is no version.
    """
    if version is None:
        return True
    pinned = pinned_version(environment)
    return pinned is not None and specifier_of(version).contains(pinned, prereleases=True)


def is_made_for(engine: AnyEngine, device: Device, version: str | None) -> bool:
    """Whether the engine's plugin is made for this version: its lock and its list of flags count.

    Raises:
        KeyError: the engine does not run on that kind of device.
        ValueError: it is no version.
    """
    return is_pinned(engine.environment_for(device), version)


def at_version(environment: Environment, version: str) -> Environment:
    """The environment with this version of the engine.

    The pinned one is installed as its lock says. Another is resolved when it is built: the engine's own package, and
    what the plugin says belongs beside it.

    Raises:
        ValueError: `version` is none, or the engine has no package that could have another.
    """
    specifier = specifier_of(version)
    if not (name := _name(environment)):
        raise ValueError("nothing is installed for this engine, so it has no versions")
    provides = f"{name}{specifier}"
    if is_pinned(environment, version):
        return replace(environment, provides=provides)
    if environment.locked:
        requires = [provides, *environment.beside]
    else:
        others = [line for line in environment.requires if Requirement(line).name != name]
        requires = [_own(environment, specifier), *others, *environment.beside]
    return replace(environment, requires=tuple(requires), provides=provides, locked=False)


def _name(environment: Environment) -> str:
    return Requirement(environment.needed).name if environment.needed else ""


def _own(environment: Environment, specifier: SpecifierSet) -> str:
    """The engine's own package with the extras that the plugin asks for."""
    named = [Requirement(line) for line in (*environment.requires, environment.needed)]
    own = next(one for one in named if one.name == _name(environment))
    extras = f"[{','.join(sorted(own.extras))}]" if own.extras else ""
    return f"{own.name}{extras}{specifier}"
