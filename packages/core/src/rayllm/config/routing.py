"""Names and routes that fit together: aliases, fallbacks, and bounds on replicas that scale."""

from __future__ import annotations

from rayllm.config.document import Document, KeyPath
from rayllm.config.rules import RESERVED
from rayllm.config.schema import DeploymentConfig, ModelConfig, ReplicaRange
from rayllm.names import did_you_mean


def check_routing(document: Document, config: DeploymentConfig) -> None:
    """Every name that a route points to is a model, no name means two things, and no request goes in circles."""
    for alias, target in config.gateway.aliases.items():
        _check_alias(document, config, alias, [target] if isinstance(target, str) else list(target))
    for name, model in config.models.items():
        _check_fallback(document, config, name)
        _check_scaling(document, name, model)


def _check_alias(document: Document, config: DeploymentConfig, alias: str, targets: list[str]) -> None:
    path: KeyPath = ("gateway", "aliases", alias)
    if alias in RESERVED:
        document.problem(path, f'"{alias}" names the gateway', cure="choose another name for the alias", key=True)
    if alias in config.models:
        document.problem(path, f'"{alias}" is a model already', cure="choose another name for the alias", key=True)
    if not targets:
        document.problem(path, "empty; a model, or models with their weights, expected")
    for target in targets:
        at = path if config.gateway.aliases[alias] == target else (*path, target)
        _check_target(document, config, at, target)


def _check_fallback(document: Document, config: DeploymentConfig, name: str) -> None:
    model = config.models[name]
    fallback = model.routing.fallback
    if fallback is None:
        return
    path: KeyPath = ("models", name, "routing", "fallback")
    if not _check_target(document, config, path, fallback):
        return
    chain = [name]
    while fallback in config.models and fallback not in chain:
        chain.append(fallback)
        fallback = config.models[fallback].routing.fallback or ""
    # Told once for each circle, at the one of its models that comes first in the file.
    if fallback == name and name == min(chain, key=list(config.models).index):
        document.problem(path, f"a circle: {' → '.join([*chain, name])}", cure="one of them has to have no fallback")
    if isinstance(model.replicas, ReplicaRange) and model.replicas.min == 0:
        document.problem(
            path,
            f"{name} would never wake up: while it sleeps, its requests would go to {model.routing.fallback}",
            cure="replicas.min: 1, or no fallback: a request to a model that sleeps waits until it is awake",
        )


def _check_target(document: Document, config: DeploymentConfig, path: KeyPath, target: str) -> bool:
    if target in config.models:
        return True
    wrong = f'"{target}" is an alias; a model expected' if target in config.gateway.aliases else f'no model "{target}"'
    hint = "" if target in config.gateway.aliases else did_you_mean(target, config.models)
    document.problem(path, wrong + hint, choices=f"models: {', '.join(config.models)}")
    return False


def _check_scaling(document: Document, name: str, model: ModelConfig) -> None:
    """Requests that wait in the gateway are unknown to the autoscaler, so the engines have to get enough of them."""
    most = model.routing.max_ongoing
    if isinstance(model.replicas, ReplicaRange) and model.replicas.max > model.replicas.min:
        target = model.replicas.target_ongoing
        if most < target:
            document.problem(
                ("models", name, "routing", "max_ongoing"),
                f"{most} is less than replicas.target_ongoing ({target:g}): no replica would ever be added",
                cure=f"at least {target:g}, better twice as much",
            )
