"""What the nodes' own Python environment holds: all that RayLLM and this backend require there, but not themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rayllm.cluster.bundle import CORE, installed
from rayllm_backend_cai.bootstrap.code import OWN

_EXTRAS = {CORE: ("", "serve"), OWN: ("",)}
"""Of our own distributions, what nodes need."""
_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
IMPORTS = ("ray", "ray.serve", "rayllm.plugins")
"""What a finished environment has to be able to import, beside the nodes' code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The nodes' Python environment, as it is asked for. It lies in `serving/DIGEST/` of the project's disk."""

    python: str
    """Minor version of the Python that runs it, which is the runtime's: `3.11`."""
    requirements: tuple[str, ...]
    imports: tuple[str, ...] = IMPORTS
    """Modules that are imported once, to see that it works."""

    @property
    def digest(self) -> str:
        """By which its folder is named."""
        return serving_digest(self.requirements, self.python)


def serving_for(python: str) -> Serving:
    """The environment that nodes with this minor version of Python get."""
    return Serving(python=python, requirements=serving_requirements(python))


def serving_requirements(python: str = "3.11") -> tuple[str, ...]:
    """Requirements of rayllm-core with its extra `serve` and of this backend, as installed here, in order.

    Args:
        python: minor version of the nodes' Python, for requirements that depend on it.

    Raises:
        PluginError: a distribution of ours is not installed.
    """
    return tuple(sorted({line for name in _EXTRAS for line in _needs(installed(name), _EXTRAS[name], python)}))


def serving_digest(requirements: tuple[str, ...], python: str) -> str:
    """Names an environment with these requirements: a changed list is another environment beside."""
    return hashlib.sha256("\n".join([python, *requirements]).encode()).hexdigest()[:12]


def _needs(distribution: Distribution, extras: tuple[str, ...], python: str) -> Iterator[str]:
    """What is required on a node, without markers: these are decided here."""
    where = {**_LINUX, "python_version": python, "python_full_version": f"{python}.0"}
    for need in map(Requirement, distribution.requires or ()):
        wanted = need.marker is None or any(need.marker.evaluate({**where, "extra": extra}) for extra in extras)
        if wanted and not canonicalize_name(need.name).startswith("rayllm-"):
            need.name, need.marker = canonicalize_name(need.name), None
            yield str(need)
