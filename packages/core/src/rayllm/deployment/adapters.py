"""LoRA adapters of models that run: added and removed in Serve's config, without a restart; the file is not changed."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rayllm.config.rules import RESERVED, SCHEME
from rayllm.deployment.adapter_change import Change, adapters_by, changing, options_of
from rayllm.deployment.adapter_settings import added, removed, settings_of
from rayllm.deployment.observing import look
from rayllm.deployment.serve_config import Json
from rayllm.deployment.status import AdapterStatus, ModelStatus
from rayllm.errors import InputError, RayllmError
from rayllm.names import did_you_mean
from rayllm.serving.key_limits import is_name
from rayllm.serving.spec import GATEWAY_APP

if TYPE_CHECKING:
    from rayllm.backends import Progress
    from rayllm.deployment.session import Session


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter, and whose it is."""

    name: str
    """What clients send as `model`."""
    model: str
    """The model that it changes."""
    status: AdapterStatus
    """What it is doing; of one that was removed, what it did before."""


class Adapters:
    """The LoRA adapters of a deployment, `RayLLM.adapters`. Each call asks the cluster anew.

    A change counts when the call returns. All raise `ClusterError` where the cluster is not ready, or somebody else is
    changing it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> builtins.list[Adapter]:
        """Every adapter that is wanted, by model and name."""
        models = look(self._session).models.values()
        return [Adapter(name, part.name, one) for part in models for name, one in sorted(part.adapters.items())]

    def add(self, name: str, source: str, *, model: str | None = None, progress: Progress | None = None) -> Adapter:
        """Load an adapter on every replica of a model, and on every later one; wait until they have it.

        One of that name from another source gives way to it. Where it can't be loaded, all is as before.

        Args:
            name: what clients send as `model`.
            source: where it is, as a model's `source`.
            model: whose; not needed where the file has one model alone.
            progress: is told what goes on.

        Raises:
            InputError: the name is none or is taken, there is no such source, the model takes no adapters or no more.
            DeploymentError: a replica could not load it; with the cause.
        """
        session = self._session
        of = model or _only_model(session)
        session.require_model(of)
        _require_name(session, name, of)
        _require_source(session, source)
        in_file = session.checked.config.models[of].adapters.get(name) == source
        with changing(session) as change:
            before = change.settings(of)
            _require_room(session, change.app(of), of, name)
            for other in change.apps():
                if other not in {of, GATEWAY_APP} and name in settings_of(change.app(other)).adapters:
                    raise InputError(f"{name!r} is an adapter of {other} already", cure="choose another name")
            change.put(of, added(before, name, source, in_file=in_file))
            try:
                part = change.wait(of, name, lambda part: _has(part, name), progress or _unheard)
            except RayllmError:
                change.put(of, before)
                raise
            return Adapter(name, of, part.adapters[name])

    def remove(self, name: str, *, progress: Progress | None = None) -> Adapter:
        """Take an adapter from every replica; requests in flight are finished.

        Args:
            name: what clients send as `model`.
            progress: is told what goes on.

        Raises:
            InputError: there is no such adapter.
        """
        with changing(self._session) as change:
            models = [model for model in change.apps() if name in settings_of(change.app(model)).adapters]
            if not models:
                there = [one for model in change.apps() for one in settings_of(change.app(model)).adapters]
                cure = f"there are {', '.join(sorted(there))}" if there else "there are none"
                raise InputError(f"there is no adapter {name!r}{did_you_mean(name, there)}", cure=cure)
            before = change.observe().models[models[0]].adapters[name]
            change.put(models[0], removed(change.settings(models[0]), name))
            change.wait(models[0], name, lambda part: _is_gone(change, part, name), progress or _unheard)
            return Adapter(name, models[0], before)


def _has(part: ModelStatus, name: str) -> bool:
    """Whether all replicas have it; one that sleeps loads it when it wakes."""
    adapter = part.adapters.get(name)
    asleep = part.running == 0 and part.wanted == 0
    return adapter is not None and (asleep or (part.state == "ready" and adapter.state == "loaded"))


def _is_gone(change: Change, part: ModelStatus, name: str) -> bool:
    return name not in part.adapters and not change.still_has(part.name, name)


def _unheard(step: str, detail: str, *, done: bool = False) -> None:
    """A progress that tells nobody."""


def _only_model(session: Session) -> str:
    names = list(session.checked.config.models)
    if len(names) > 1:
        raise InputError(f"of which model? {session.checked.path} has {', '.join(names)}", cure="--to MODEL")
    return names[0]


def _require_name(session: Session, name: str, model: str) -> None:
    config, cure = session.checked.config, "choose another name for the adapter"
    if not is_name(name) or name in RESERVED:
        raise InputError(f"{name!r} can't be an adapter's name", cure="letters, digits, `.`, `_` and `-`, at most 80")
    if name in config.models or name in config.gateway.aliases:
        what = "a model" if name in config.models else "an alias"
        raise InputError(f"{name!r} is {what} already", cure=cure)
    for other, one in config.models.items():
        if other != model and name in one.adapters:
            raise InputError(f"{name!r} is an adapter of {other} in {session.checked.path}", cure=cure)


def _require_source(session: Session, source: str) -> None:
    sources = session.plugins.sources
    match = SCHEME.match(source)
    scheme = match[1] if match else "file"
    if scheme not in sources:
        cure = f"a path, or one of {', '.join(f'{name}:' for name in sorted(sources))}"
        raise InputError(f"no source {scheme!r}{did_you_mean(scheme, sources)}", cure=cure)
    if wrong := sources[scheme].check(source if match else f"file:{source}"):
        raise InputError(f"source {source!r}: {wrong}")


def _require_room(session: Session, app: Json, model: str, name: str) -> None:
    """Check that the model's replicas, as they were deployed, take one more."""
    how = adapters_by(session.plugins, app)
    if how is None:
        raise InputError(f"{model} takes no adapters: its engine {app['args']['engine']} serves none", topic="adapters")
    options = options_of(session.plugins, app)
    if not getattr(options, how.switch):
        raise InputError(
            f"{model} was deployed without adapters",
            cure=f"options.{how.switch}: true in {session.checked.path}, then: rayllm up",
            topic="adapters",
        )
    if (nodes := app["args"].get("nodes", 1)) > 1:
        raise InputError(f"{model} takes no adapters: each of its replicas is on {nodes} nodes", topic="adapters")
    adapters, room = settings_of(app).adapters, getattr(options, how.room)
    if name not in adapters and len(adapters) >= room:
        raise InputError(
            f"{model} has {len(adapters)} adapters, and a replica holds {room} at most",
            cure=f"rayllm adapters remove {next(iter(adapters))}, or more options.{how.room} in the file",
            topic="adapters",
        )
