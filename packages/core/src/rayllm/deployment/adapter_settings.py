"""A model's LoRA adapters in Serve's config: what the file wants, and what was added beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rayllm.deployment.serve_config import Json
from rayllm.engines import Adapters
from rayllm.errors import DeploymentError
from rayllm.serving.spec import GATEWAY_APP, ModelSettings

if TYPE_CHECKING:
    from rayllm.config import Checked


def settings_of(app: Json) -> ModelSettings:
    """The adapters of a model's application, as Serve has them."""
    return ModelSettings.from_user_config(_override(app).get("user_config"))


def wanted_settings(checked: Checked, deployed: Mapping[str, Json]) -> dict[str, ModelSettings]:
    """By model that takes adapters: those of the file, and those that run and came by command.

    The file's word goes first: what it gives the name of one that was added takes its place.

    Raises:
        DeploymentError: together they are more than a replica holds; with the numbers.
    """
    config, found = checked.config, {}
    taken = {
        *config.models,
        *config.gateway.aliases,
        *(name for one in config.models.values() for name in one.adapters),
    }
    for name, how in checked.adapters.items():
        model = config.models[name]
        before = settings_of(deployed.get(name, {}))
        added = {one: before.adapters[one] for one in before.added if one in before.adapters and one not in taken}
        found[name] = ModelSettings(adapters={**model.adapters, **added}, added=tuple(added))
        if len(found[name].adapters) > (room := getattr(checked.engine_options[name], how.room)):
            raise DeploymentError(
                f"the file has {len(model.adapters)} adapters of {name}, {len(added)} more were added by command "
                f"({', '.join(added)}), and a replica holds {room} at most",
                cure=f"rayllm adapters remove {next(iter(added), 'NAME')}, or more options.{how.room} in the file",
                topic="adapters",
            )
    return found


def routed(how: Adapters, model: str, settings: ModelSettings) -> Json:
    """What a model's `RouteSettings` say of its adapters."""
    called = {name: how.called.format(model=model, adapter=name) for name in sorted(settings.adapters)}
    return {"adapters": called, "adapter_endpoints": None if how.endpoints is None else sorted(how.endpoints)}


def with_settings(apps: Mapping[str, Json], how: Adapters, model: str, settings: ModelSettings) -> dict[str, Json]:
    """The applications of a deployment with other adapters of one model: its own and the gateway's are changed."""
    gateway = apps[GATEWAY_APP]
    told = dict(_override(gateway).get("user_config") or {})
    routes = {**told.get("models", {})}
    routes[model] = {**routes.get(model, {}), **routed(how, model, settings)}
    return {
        **apps,
        model: _with_user_config(apps[model], settings.to_user_config()),
        GATEWAY_APP: _with_user_config(gateway, {**told, "models": routes}),
    }


def added(settings: ModelSettings, name: str, source: str, *, in_file: bool) -> ModelSettings:
    """With one more adapter, or one from another source.

    Args:
        settings: as they are.
        name: the adapter's.
        source: where it is.
        in_file: whether the file says the same.
    """
    others = [one for one in settings.added if one != name]
    marked = others if in_file else [*others, name]
    return replace(settings, adapters={**settings.adapters, name: source}, added=tuple(marked))


def removed(settings: ModelSettings, name: str) -> ModelSettings:
    """Without one adapter."""
    adapters = {one: source for one, source in settings.adapters.items() if one != name}
    return ModelSettings(adapters=adapters, added=tuple(one for one in settings.added if one != name))


def _override(app: Json) -> Json:
    return next(iter(app.get("deployments") or ()), {})


def _with_user_config(app: Json, user_config: Mapping[str, Any]) -> Json:
    first, *others = app["deployments"]
    return {**app, "deployments": [{**first, "user_config": dict(user_config)}, *others]}
