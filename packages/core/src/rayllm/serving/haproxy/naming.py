"""From the name that a client wrote to the model that answers: aliases, weighted splits, fallbacks."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.serving.haproxy.answers import OpenAiError, retry_later
from rayllm.serving.haproxy.models import backend_of
from rayllm.serving.haproxy.view import AdapterRoute, Alias, GatewayView

NAMES_FILE = "names.map"
"""`NAME MODEL`, or `NAME *` for one that is split."""
SPLITS_FILE = "splits.map"
"""`NAME/SLOT MODEL` for each of the slots of a split."""
FALLBACKS_FILE = "fallbacks.map"
"""`MODEL MODEL`: who answers while the first can't."""
ADAPTERS_FILE = "adapters.map"
"""`MODEL/NAME CALLED` for every adapter of a model, and what the engine calls it."""
HOLDERS_FILE = "holders.map"
"""`MODEL/NAME none` for an adapter that no replica has; where some have it, `MODEL/NAME *`, and
`MODEL/NAME/SLOT SERVER` for as many slots as a split has."""
_SLOTS = 100
"""Weights hold to the percent."""


def maps(view: GatewayView) -> dict[str, str]:
    """The files with the names."""
    adapters = [(route.model, adapter) for route in view.routes for adapter in route.adapters]
    models = [(route.model, route.model) for route in view.routes]
    models += [(adapter.name, model) for model, adapter in adapters]
    aliases = [(alias.name, alias.targets[0][0] if len(alias.targets) == 1 else "*") for alias in view.aliases]
    named = {
        NAMES_FILE: models + aliases,
        SPLITS_FILE: [entry for alias in view.aliases if len(alias.targets) > 1 for entry in _slots(alias)],
        FALLBACKS_FILE: [(route.model, route.fallback) for route in view.routes if route.fallback],
        ADAPTERS_FILE: [(f"{model}/{adapter.name}", adapter.called) for model, adapter in adapters],
        HOLDERS_FILE: [entry for model, adapter in adapters for entry in _holders(model, adapter)],
    }
    return {file: "".join(f"{key} {value}\n" for key, value in sorted(entries)) for file, entries in named.items()}


def resolve(view: GatewayView) -> Iterator[str]:
    """Rules from `txn.name` to `txn.model`; a name that is not there, or not for this key, is 404.

    `txn.rename` is set where the engine would not know the name that the client wrote: it is the one to write instead.
    `txn.adapter` is set where it is an adapter's, and `txn.holder` where not every replica has that.
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
    yield f"http-request set-var(txn.called) var(txn.model),concat(/,txn.name),map_str({ADAPTERS_FILE})"
    yield "http-request set-var(txn.adapter) var(txn.name) if { var(txn.called) -m found }"
    yield "http-request set-var(txn.called) var(txn.model) unless { var(txn.called) -m found }"
    yield "http-request set-var(txn.rename) var(txn.called) unless { var(txn.name),strcmp(txn.called) eq 0 }"
    yield from _held()


def _held() -> Iterator[str]:
    """Rules for an adapter: nobody has it, or one of those that do is chosen."""
    named = OpenAiError(
        400, 'name the adapter %[var(txn.adapter)] as "model" in the body, and no model in the path', "adapter_in_path"
    )
    absent = retry_later("no replica of the model %[var(txn.model)] has the adapter %[var(txn.adapter)] right now")
    yield "acl adapter var(txn.adapter) -m found"
    # Where the path names a model the body is not written anew, and an engine goes by the body.
    yield f"http-request return {named.answer()} if adapter {{ var(txn.by_path) -m bool }}"
    yield f"http-request set-var(txn.holder) var(txn.model),concat(/,txn.name),map_str({HOLDERS_FILE}) if adapter"
    yield f"http-request return {absent.answer()} if {{ var(txn.holder) -m str none }}"
    yield f"http-request set-var(txn.slot) rand({_SLOTS}) if {{ var(txn.holder) -m str * }}"
    yield (
        "http-request set-var(txn.holder) var(txn.model),concat(/,txn.name),concat(/,txn.slot),"
        f"map_str({HOLDERS_FILE}) if {{ var(txn.holder) -m str * }}"
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


def _holders(model: str, adapter: AdapterRoute) -> Iterator[tuple[str, str]]:
    """Who has an adapter, where not everybody has it."""
    if adapter.holders is None:
        return
    yield f"{model}/{adapter.name}", "*" if adapter.holders else "none"
    for slot in range(_SLOTS if adapter.holders else 0):
        yield f"{model}/{adapter.name}/{slot}", adapter.holders[slot % len(adapter.holders)]


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
