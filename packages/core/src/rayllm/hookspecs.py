"""The contract between RayLLM and its plugins: every hook, on one page.

A plugin is a distribution with one entry point in the group `rayllm` that names a light module; the functions in that
module marked with `rayllm.hookimpl` are called with those of the hook's arguments that they name. A hook grows by
gaining arguments, so an implementation goes on working.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from rayllm.backends import AnyBackend
    from rayllm.engines import AnyEngine
    from rayllm.events import Event
    from rayllm.sources import ModelSource

PROJECT = "rayllm"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rayllm_engines() -> Iterable[AnyEngine]:  # type: ignore[empty-body]
    """Offer engines.

    Called once for each plugin, when it is loaded: by every command that needs it, and in every replica on its node.
    Import no engine here: name it in `environment`.

    Results of all plugins are joined. Of two engines of one name, that of the plugin called `engine-NAME` stays, else
    the first; the other plugin is set aside.

    ```python
    from rayllm import Command, Engine, Environment, Options, hookimpl


    def commands(launch):
        return [Command(launch.python, "-m", "some_server", "--port", str(launch.port), "--model", launch.model_path)]


    @hookimpl
    def rayllm_engines():
        yield Engine(
            name="some",
            summary="some server",
            options=Options,
            environment=Environment(["some-server==1.0"]),
            commands=commands,
        )
    ```
    """


@hookspec
def rayllm_backends() -> Iterable[AnyBackend]:  # type: ignore[empty-body]
    """Offer kinds of clusters.

    Called once for each plugin, when it is loaded. Import no client of a platform here: `Backend.open` is called when a
    person chose the backend.

    Results of all plugins are joined, as those of `rayllm_engines` are; the name's plugin is `backend-NAME`.

    ```python
    from rayllm import Backend, Options, hookimpl


    class Place(Options):
        project: str


    def open_platform(options):
        from some_package.platform import SomeBackend  # a rayllm.ClusterBackend

        return SomeBackend(options.project)


    @hookimpl
    def rayllm_backends():
        yield Backend(name="some", summary="clusters of some platform", options=Place, open=open_platform)
    ```
    """


@hookspec
def rayllm_model_sources() -> Iterable[ModelSource]:  # type: ignore[empty-body]
    """Offer URI schemes for `source:`.

    Called once for each plugin, when it is loaded: by every command that needs it, and in every replica on its node.

    Results of all plugins are joined, as those of `rayllm_engines` are; the scheme's plugin is `source-SCHEME`.

    ```python
    from pathlib import Path

    from rayllm import ModelSource, hookimpl


    def check(uri):
        return None if uri.startswith("share:/") else "write share:/FOLDER"


    def fetch(uri, cache, report):
        return Path("/mnt/models") / uri.removeprefix("share:/")


    @hookimpl
    def rayllm_model_sources():
        yield ModelSource(scheme="share", summary="a folder that all nodes mount", check=check, fetch=fetch)
    ```
    """


@hookspec
def rayllm_event(event: Event) -> None:
    """Watch what commands do.

    Called by `plan`, `up`, `scale` and `down`, in the operator's process, once for each event, in the order in which
    they happen. It runs in a thread of its own while the command goes on; at its end, a command waits up to 5 s for all
    observers together. One that raises, or is not done by then, is told of no more events, and a warning says so.

    Results: there is none. The hook of every plugin is called whose entry point is named `observer-NAME`, which the
    first event imports, and that of other plugins which the command has loaded.

    `event` is what happened: one of the classes below, each a `rayllm.Event` and imported from `rayllm`. Later versions
    may add classes, and fields to them.

    ```python
    from rayllm import ModelFailed, hookimpl


    @hookimpl
    def rayllm_event(event):
        if isinstance(event, ModelFailed):
            with open("failures.txt", "a", encoding="utf-8") as file:
                print(event.deployment, event.model, event.message, file=file)
    ```
    """
