"""A plugin's function that fails while a command uses it: told with whose it is, why, and a way out."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rayllm.errors import PluginError, RayllmError
from rayllm.plugin_info import CORE, PluginInfo, cause_of

if TYPE_CHECKING:
    from rayllm.plugins import Plugins

Offer = tuple[str, str]
"""What a plugin offers, by kind and name: `("engine", "vllm")`; the kinds are `engine`, `backend` and `source`."""


@contextmanager
def blaming(plugins: Plugins, whose: Offer, does: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Tell what nobody foresaw in a plugin's function, `sys.exit` included, as that plugin's fault.

    What has words of its own is left as it is: any other `RayllmError`, a full disk, a home that can't be used.

    Args:
        plugins: who offers what.
        whose: what the function belongs to.
        does: what happened, after the plugin's name: `failed in open()`.
        secrets: what may not stand in the error, whatever the plugin says.

    Raises:
        PluginError: the fault, with the plugin's name, distribution and version.
    """
    try:
        yield
    except PluginError as error:
        raise fault(plugins, whose, does, error, secrets) from error
    except RayllmError:
        raise
    except (Exception, SystemExit) as error:
        if _is_the_systems(error) or _offerer(plugins, whose).module == CORE:
            raise
        raise fault(plugins, whose, does, error, secrets) from error


def fault(plugins: Plugins, whose: Offer, does: str, error: BaseException, secrets: Iterable[str] = ()) -> PluginError:
    """The error to tell instead; the arguments are those of `blaming`."""
    info = _offerer(plugins, whose)
    cause = cause_of(error) + _place(error, info.module)
    for secret in sorted(secrets, key=len, reverse=True):
        cause = cause.replace(secret, "…") if secret else cause
    fix = f"upgrade or uninstall {info.distribution}" if info.distribution else "fix it"
    cure = f"{fix}, or name another {whose[0]}; more: {info.examined_by}"
    return PluginError(f"plugin {info.title} {does}", cause=cause, cure=cure, topic="plugin")


def _offerer(plugins: Plugins, whose: Offer) -> PluginInfo:
    try:
        return plugins.origin_of(*whose)
    except KeyError:  # a program's own, which no plugin offers
        return PluginInfo(name="-".join(whose), module="")


def _is_the_systems(error: BaseException) -> bool:
    """A trouble that RayLLM has a cure for, whoever ran into it."""
    from rayllm.faults import from_system

    return isinstance(error, OSError) and from_system(error).topic is not None


def _place(error: BaseException, module: str) -> str:
    """` (backend.py, line 12)`: how far it came in the plugin's own code; nothing for what a contract's breach says."""
    package = module.partition(".")[0]
    steps = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if package and str(frame.f_globals.get("__name__")).partition(".")[0] == package
    ]
    if isinstance(error, RayllmError) or not steps:
        return ""
    file, line = steps[-1]
    return f" ({Path(file).name}, line {line})"
