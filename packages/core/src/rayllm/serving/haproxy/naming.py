"""From the name that a client wrote to the model that answers: aliases, weighted splits, fallbacks."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.models import backend_of
from rayllm.serving.haproxy.view import Alias, GatewayView

NAMES_FILE = "names.map"
"""`NAME MODEL`, or `NAME *` for one that is split."""
SPLITS_FILE = "splits.map"
"""`NAME/SLOT MODEL` for each of the slots of a split."""
FALLBACKS_FILE = "fallbacks.map"
"""`MODEL MODEL`: who answers while the first can't."""
ADAPTERS_FILE = "adapters.map"
"""`MODEL/NAME 1` for every further name that the model's engine itself knows."""
_SLOTS = 100
"""Weights hold to the percent."""


def maps(view: GatewayView) -> dict[str, str]:
    """The files with the names."""
    models = [(name, route.model) for route in view.routes for name in (route.model, *route.names)]
    aliases = [(alias.name, alias.targets[0][0] if len(alias.targets) == 1 else "*") for alias in view.aliases]
    named = {
        NAMES_FILE: models + aliases,
        SPLITS_FILE: [entry for alias in view.aliases if len(alias.targets) > 1 for entry in _slots(alias)],
        FALLBACKS_FILE: [(route.model, route.fallback) for route in view.routes if route.fallback],
        ADAPTERS_FILE: [(f"{route.model}/{name}", "1") for route in view.routes for name in route.names],
    }
    return {file: "".join(f"{key} {value}\n" for key, value in sorted(entries)) for file, entries in named.items()}


def resolve(view: GatewayView) -> Iterator[str]:
    """Rules from `txn.name` to `txn.model`; a name that is not there, or not for this key, is 404.

    `txn.rename` is set where the engine would not know the name that the client wrote: it is the one to write instead.
    """
    yield f"http-request set-var(txn.model) var(txn.name),map_str({NAMES_FILE})"
    yield "http-request use-service lua.unknown-model unless { var(txn.model) -m found }"
    yield "http-request use-service lua.unknown-model if keyed !all-names !named"
    yield f"http-request set-var(txn.slot) rand({_SLOTS}) if {{ var(txn.model) -m str * }}"
    yield (
        f"http-request set-var(txn.model) var(txn.name),concat(/,txn.slot),map_str({SPLITS_FILE}) "
        "if { var(txn.model) -m str * }"
    )
    for _ in range(_longest_chain(view)):
        yield (
            f"http-request set-var(txn.model) var(txn.model),map_str({FALLBACKS_FILE}) "
            f"if {{ var(txn.model),map_str({FALLBACKS_FILE}) -m found }} "
            f"{{ str({backend_of('')}),concat(,txn.model),nbsrv -m int eq 0 }}"
        )
    yield (
        "http-request set-var(txn.rename) var(txn.model) unless { var(txn.name),strcmp(txn.model) eq 0 } "
        f"|| {{ var(txn.model),concat(/,txn.name),map_str({ADAPTERS_FILE}) -m found }}"
    )


def _longest_chain(view: GatewayView) -> int:
    """Fallbacks one after the other: a model that answers for another may be down, too, and have one of its own."""
    after = {route.model: route.fallback for route in view.routes if route.fallback}
    longest = 0
    for model in after:
        steps, at = 0, after.get(model)
        while at and steps < len(after):
            steps, at = steps + 1, after.get(at)
        longest = max(longest, steps)
    return longest


def _slots(alias: Alias) -> Iterator[tuple[str, str]]:
    """Slots of a split, as many for each model as its weight wants."""
    total = sum(weight for _, weight in alias.targets)
    for slot in range(_SLOTS):
        reached = 0
        for model, weight in alias.targets:
            reached += weight
            if slot * total < reached * _SLOTS:
                yield f"{alias.name}/{slot}", model
                break
