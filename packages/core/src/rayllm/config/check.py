"""Check a whole file against the schema and the installed plugins: every problem, in one pass, before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm.backends import AnyBackend
from rayllm.config.adapters import check_adapters, switch_on
from rayllm.config.api_keys import read_keys
from rayllm.config.building import read_document
from rayllm.config.capabilities import check_capabilities, check_shape
from rayllm.config.certificate import check_certificate
from rayllm.config.document import Document, KeyPath
from rayllm.config.engine_arguments import check_engine_arguments
from rayllm.config.image import check_image
from rayllm.config.plugin_calls import noting
from rayllm.config.problems import ConfigErrors
from rayllm.config.refusals import check_refusals
from rayllm.config.routing import check_routing
from rayllm.config.rules import (
    check_environment,
    check_host,
    check_launch,
    check_name,
    check_no_secrets,
    check_packages,
    check_replicas,
    check_source,
    check_version,
)
from rayllm.config.schema import ClusterConfig, DeploymentConfig
from rayllm.config.secret_values import read_secrets
from rayllm.config.validation import validate
from rayllm.engines import Adapters, AnyEngine, Engine, Options
from rayllm.names import did_you_mean
from rayllm.plugins import Plugins
from rayllm.sources import FetchProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file in which nothing is wrong, as far as can be told without a cluster."""

    path: Path
    config: DeploymentConfig
    backend: AnyBackend
    backend_options: Options
    engine_options: dict[str, Options]
    """Each model's validated `options:`, by the model's name."""
    endpoints: Mapping[str, Sequence[str]]
    """`Engine.endpoints` of the engines in use, by the engine's name."""
    adapters: Mapping[str, Adapters] = field(default_factory=dict)
    """How the engine of each model that takes adapters does so, by the model's name."""
    from_environment: Mapping[KeyPath, str]
    """Text as written (`${env:TOKEN}`) of each value that came from the environment, by its path in the file."""
    secrets: Mapping[str, str] = field(repr=False)
    """The values of `secrets:`, by name."""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The API keys of `gateway.keys`, by name."""
    api_key: str | None = field(default=None, repr=False)
    """What requests from here show: `$RAYLLM_API_KEY`, else the first of `keys`."""

    @property
    def unused(self) -> Sequence[str]:
        """Keys in the file that say nothing: where the gateway listens, where the platform decides that."""
        written = self.config.gateway.model_fields_set if self.backend.endpoint else ()
        return [f"gateway.{key}" for key in ("host", "port") if key in written]


def load(
    path: Path,
    plugins: Plugins,
    environ: Mapping[str, str] = os.environ,
    report: FetchProgress | None = None,
    *,
    with_keys: bool = True,
) -> Checked:
    """Read and check a file.

    Args:
        path: the file.
        plugins: what is installed.
        environ: where `${env:NAME}` is looked up.
        report: told what takes long, and what can't be checked.
        with_keys: False for who neither sets nor shows API keys: those of `gateway.keys` need not be there then.

    Raises:
        InputError: there is no such file, or it can't be read.
        ConfigErrors: something is wrong in it; all of it.
    """
    document = read_document(path, environ)
    data = document.data
    switch_on(document, plugins)
    config = validate(document, DeploymentConfig, data, (), "no such key")
    backend, backend_options = _check_cluster(document, plugins)
    engine_options: dict[str, Options] = {}
    models = data.get("models")
    for name, model in models.items() if isinstance(models, dict) else ():
        options = _check_model(document, plugins, ("models", name), model) if isinstance(model, dict) else None
        if options is not None:
            engine_options[name] = options
        if isinstance(model, dict) and isinstance(engine := model.get("engine"), str) and engine in plugins.engines:
            able = backend.capabilities if backend else ()
            check_engine_arguments(
                document, plugins.engines[engine], ("models", name), model, capabilities=able, report=report or _unheard
            )
    check_adapters(document, plugins, engine_options)
    if config is not None:
        for name, checked in engine_options.items():
            check_launch(document, plugins, checked, name, config.models[name])
            check_shape(document, plugins, checked, name, data["models"][name])
        check_routing(document, config)
        if backend is not None and backend_options is not None:
            check_refusals(document, plugins, backend, backend_options, config)
    check_host(document)
    check_no_secrets(document)
    check_packages(document)
    secrets = read_secrets(document, config.secrets, environ) if config else {}
    if config is not None:
        check_certificate(document, config.gateway, config.secrets, secrets)
    keys = read_keys(document, config.gateway, environ) if config and with_keys else {}
    if document.problems or config is None or backend is None or backend_options is None:
        raise ConfigErrors(path, document.problems)
    return Checked(
        path=path,
        config=config,
        backend=backend,
        backend_options=backend_options,
        engine_options=engine_options,
        endpoints={
            name: sorted(plugins.engines[name].endpoints)
            for name in sorted({model.engine for model in config.models.values()})
        },
        adapters={
            name: how
            for name, model in config.models.items()
            if (how := plugins.engines[model.engine].adapters) and getattr(engine_options[name], how.switch)
        },
        from_environment=document.raw,
        secrets=secrets,
        keys=keys,
        api_key=environ.get("RAYLLM_API_KEY", "").strip() or next(iter(keys.values()), None),
    )


def _unheard(detail: str) -> None:
    """Told what nobody asked for."""


def _check_cluster(document: Document, plugins: Plugins) -> tuple[AnyBackend | None, Options | None]:
    block = document.data.get("cluster", {})
    if not isinstance(block, dict):
        return None, None
    name = block.get("backend", ClusterConfig().backend)
    backend = _pick(document, plugins, "backend", name, ("cluster", "backend"))
    if backend is None:
        return None, None
    with noting(document, ("cluster", "options"), plugins, ("backend", name), "can't check this"):
        return backend, _options(document, ("cluster",), backend, block)
    return backend, None


def _check_model(document: Document, plugins: Plugins, path: KeyPath, model: dict[str, Any]) -> Options | None:
    check_name(document, path)
    check_source(document, plugins, (*path, "source"), model.get("source"))
    check_environment(document, (*path, "environment"), model.get("environment", "auto"))
    check_image(document, path, model)
    check_replicas(document, (*path, "replicas"), model.get("replicas"))
    name = model.get("engine")
    engine = _pick(document, plugins, "engine", name, (*path, "engine"))
    if engine is None:
        return None
    check_capabilities(document, plugins, engine, path, model)
    check_version(document, (*path, "version"), engine, model)
    with noting(document, (*path, "options"), plugins, ("engine", engine.name), "can't check this"):
        return _options(document, path, engine, model)
    return None


def _options(
    document: Document, path: KeyPath, chosen: AnyEngine | AnyBackend, block: dict[str, Any]
) -> Options | None:
    given = block.get("options", {})
    kind = "engine" if isinstance(chosen, Engine) else "backend"
    unknown = f'{kind} "{chosen.name}" has no such option'
    return validate(document, chosen.options, given, (*path, "options"), unknown) if isinstance(given, dict) else None


def _pick(document: Document, plugins: Plugins, kind: str, name: Any, path: KeyPath) -> Any:
    """The engine or backend of that name; None where the name is wrong (noted here) or no text (the schema's)."""
    installed: Mapping[str, Any] = plugins.engines if kind == "engine" else plugins.backends
    if not isinstance(name, str):
        return None
    if name not in installed:
        shown = document.raw.get(path, name)
        names = ", ".join(sorted(installed)) or "none"
        hint = did_you_mean(name, installed)
        cure = _suspects(plugins) or ("" if installed else f"pip install {_usual_name(kind, str(shown))}")
        document.problem(path, f'no {kind} "{shown}"{hint}', choices=f"installed: {names}", cure=cure)
    return installed.get(name)


def _usual_name(kind: str, name: str) -> str:
    """What a distribution with this engine or backend is called, as far as that can be told."""
    return f"rayllm-{kind}-{name if re.fullmatch('[a-z0-9-]+', name) else 'NAME'}"


def _suspects(plugins: Plugins) -> str:
    """Who might have offered it, and could not."""
    missing = {
        state: ", ".join(info.title for info in plugins.infos if info.state == state)
        for state in ("broken", "disabled")
    }
    said = "; ".join(f"{state}: {names}" for state, names in missing.items() if names)
    return f"{said}; rayllm plugins tells why" if said else ""
