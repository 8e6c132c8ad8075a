"""The contract between RayLLM and its plugins: every hook, on one page.

A plugin is a distribution with one entry point in the group `rayllm` that names a light module; the functions in that
module marked with `rayllm.hookimpl` are called with the arguments they ask for. A hook grows by gaining arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from rayllm.backends import AnyBackend
    from rayllm.engines import AnyEngine
    from rayllm.sources import ModelSource

PROJECT = "rayllm"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rayllm_engines() -> Iterable[AnyEngine]:  # type: ignore[empty-body]
    """Offer engines.

    Called once for each plugin, at discovery. Import no engine here. A name that is taken breaks the later plugin only.

    ```python
    @hookimpl
    def rayllm_engines():
        yield Engine(name="vllm", summary="vLLM", options=VllmOptions, environment=ENVIRONMENTS, commands=commands)
    ```
    """


@hookspec
def rayllm_backends() -> Iterable[AnyBackend]:  # type: ignore[empty-body]
    """Offer cluster backends.

    Called once for each plugin, at discovery. `Backend.open` imports what it needs when a person chose it.

    ```python
    @hookimpl
    def rayllm_backends():
        yield Backend(name="local", summary="this machine", options=LocalOptions, open=open_local)
    ```
    """


@hookspec
def rayllm_model_sources() -> Iterable[ModelSource]:  # type: ignore[empty-body]
    """Offer URI schemes for `source:`.

    Called once for each plugin, at discovery, by the operator and again on the node that serves.

    ```python
    @hookimpl
    def rayllm_model_sources():
        yield ModelSource(scheme="file", summary="a path on the node", check=check_path, fetch=take_path)
    ```
    """
