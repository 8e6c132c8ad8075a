"""From the name that a client wrote to the model that answers: aliases, weighted splits, fallbacks."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.answers import UNKNOWN_MODEL_FILE
from rayllm.serving.haproxy.models import backend_of
from rayllm.serving.haproxy.view import Alias, GatewayView

NAMES_FILE = "names.map"
"""`NAME MODEL`, or `NAME *` for one that is split."""
SPLITS_FILE = "splits.map"
"""`NAME/SLOT MODEL` for each of the slots of a split."""
FALLBACKS_FILE = "fallbacks.map"
"""`MODEL MODEL`: who answers while the first can't."""
_SLOTS = 100


def maps(view: GatewayView) -> dict[str, str]:
    """The files with the names."""
    models = [(route.model, route.model) for route in view.routes]
    aliases = [(alias.name, alias.targets[0][0] if len(alias.targets) == 1 else "*") for alias in view.aliases]
    splits = [entry for alias in view.aliases if len(alias.targets) > 1 for entry in _slots(alias)]
    fallbacks = [(route.model, route.fallback) for route in view.routes if route.fallback]
    named = {NAMES_FILE: models + aliases, SPLITS_FILE: splits, FALLBACKS_FILE: fallbacks}
    return {file: "".join(f"{key} {value}\n" for key, value in sorted(entries)) for file, entries in named.items()}


def resolve() -> Iterator[str]:
    """Rules from `txn.name` to `txn.model`; a name that is not there, or not for this key, is 404."""
    unknown = f"http-request return status 404 content-type application/json lf-file {UNKNOWN_MODEL_FILE}"
    yield f"http-request set-var(txn.model) var(txn.name),map_str({NAMES_FILE})"
    yield f"{unknown} unless {{ var(txn.model) -m found }}"
    yield f"{unknown} if keyed !all-names !named"
    yield f"http-request set-var(txn.slot) rand({_SLOTS}) if {{ var(txn.model) -m str * }}"
    yield (
        f"http-request set-var(txn.model) var(txn.name),concat(/,txn.slot),map_str({SPLITS_FILE}) "
        "if { var(txn.model) -m str * }"
    )
    # Twice: a fallback may be down, too, and have one of its own.
    for _ in range(2):
        yield (
            f"http-request set-var(txn.model) var(txn.model),map_str({FALLBACKS_FILE}) "
            f"if {{ var(txn.model),map_str({FALLBACKS_FILE}) -m found }} "
            f"{{ str({backend_of('')}),concat(,txn.model),nbsrv -m int eq 0 }}"
        )


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
