"""What a model's adapters are doing, from what its replicas report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rayllm.deployment.status import AdapterStatus, ModelStatus
from rayllm.errors import DeploymentError
from rayllm.serving.spec import ModelSettings


def adapters_of(settings: ModelSettings, replicas: Iterable[Mapping[str, Any]]) -> dict[str, AdapterStatus]:
    """Each adapter that is wanted.

    Args:
        settings: what is wanted.
        replicas: the model's entries in the directory.
    """
    ready = [replica for replica in replicas if replica["phase"] == "ready"]
    found = {}
    for name, source in settings.adapters.items():
        told = [replica.get("adapters", {}).get(name) for replica in ready]
        reports = [one for one in told if one and one["source"] == source]
        failed = max((one for one in reports if one["state"] == "failed"), key=lambda one: one["at"], default=None)
        loading = next((one for one in reports if one["state"] == "loading"), {"message": ""})
        loaded = sum(one["state"] == "loaded" for one in reports)
        found[name] = AdapterStatus(
            source=source,
            added=name in settings.added,
            state="failed" if failed else "loaded" if loaded == len(ready) else "loading",
            loaded=loaded,
            replicas=len(ready),
            message=(failed or loading)["message"],
            cause=failed["cause"] if failed else "",
            cure=failed["cure"] if failed else "",
            failed_at=failed["at"] if failed else None,
        )
    return found


def failed(
    part: ModelStatus, known: Mapping[str, float], names: Iterable[str] = ()
) -> tuple[str, AdapterStatus] | None:
    """An adapter that has failed since `known`, by name.

    Args:
        part: the model.
        known: when each failed last before, as `AdminApi.failed_at` has it.
        names: the adapters that matter; all if empty.
    """
    for name in names or part.adapters:
        adapter = part.adapters.get(name)
        if adapter and adapter.failed_at is not None and adapter.failed_at > known.get(f"{part.name}/{name}", 0.0):
            return name, adapter
    return None


def error_of(words: str, adapter: AdapterStatus) -> DeploymentError:
    """The error of one adapter, which begins with `words`."""
    return DeploymentError(
        f"{words}: {adapter.message}",
        cause=adapter.cause or None,
        cure=adapter.cure or None,
        topic="adapters",
    )


def loading(part: ModelStatus) -> str:
    """What a model that is ready still waits for, in words; empty where that is nothing."""
    words = [describe(name, one) for name, one in part.adapters.items() if one.state != "loaded"]
    return "; ".join(words)


def describe(name: str, adapter: AdapterStatus) -> str:
    """An adapter and how far it is: `adapter sql on 1 of 2 replicas`."""
    detail = f" · {adapter.message}" if adapter.message else ""
    return f"adapter {name} on {adapter.loaded} of {adapter.replicas} replicas{detail}"
