"""Packages from folders that the file names, and from there alone where it says `offline`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rayllm.serving.prepare.pip_settings import OFFLINE, pip_files, read_pip

_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


def use(packages: Mapping[str, Any] | None) -> None:
    """From now on this process's uv and pip look there, too, or there alone.

    Args:
        packages: the file's `packages:` block; None changes nothing.
    """
    if packages is None:
        return
    told = settings(packages, os.environ)
    for name in _INDEXES if OFFLINE in told else ():
        os.environ.pop(name, None)
    os.environ.update(told)


def settings(packages: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that say the same to uv and pip; folders of the node's own settings stay. Reads them.

    Args:
        packages: `find_links` and `offline`.
        environ: what the tools would get without.
    """
    told: dict[str, str] = {}
    if links := packages["find_links"]:
        here = environ.get("UV_FIND_LINKS", "").split(",") if "UV_FIND_LINKS" in environ else _of_pip(environ)
        every = list(dict.fromkeys([*links, *filter(None, here)]))
        told |= {"UV_FIND_LINKS": ",".join(every), "PIP_FIND_LINKS": " ".join(every)}
    if packages["offline"]:
        told |= {OFFLINE: "1", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    return told


def _of_pip(environ: Mapping[str, str]) -> list[str]:
    return read_pip(pip_files(environ), environ).get("find-links", "").split()
