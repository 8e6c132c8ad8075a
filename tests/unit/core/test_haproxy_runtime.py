"""What a running HAProxy is told instead of being reloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rayllm.serving.haproxy.config import files, render
from rayllm.serving.haproxy.places import CONFIG_FILE
from rayllm.serving.haproxy.runtime import Change, change
from rayllm.serving.haproxy.view import Alias, GatewayView, KeyRule, ModelRoute, Upstream

ONE, TWO, THREE = (Upstream(f"r{n}", "127.0.0.1", 20000 + n) for n in (1, 2, 3))
VIEW = GatewayView("demo", "127.0.0.1", 8000, 8001, (ModelRoute("a", "k", (ONE, TWO)), ModelRoute("b", "k")), Path())
KEY = KeyRule("team", ("AB12",), requests_per_minute=5)


def from_to(before: GatewayView, after: GatewayView) -> Change | None:
    """The change from one view to another."""
    return change(*({**files(view), CONFIG_FILE: render(view)} for view in (before, after)))


def with_replicas(*upstreams: Upstream) -> GatewayView:
    """The view with these replicas of model `a`."""
    return replace(VIEW, routes=(replace(VIEW.routes[0], upstreams=upstreams), VIEW.routes[1]))


def test_replicas_come_and_go() -> None:
    """A new one is checked and enabled, one that leaves gets no more requests."""
    found = from_to(VIEW, with_replicas(TWO, THREE))
    assert found
    add, health, enable, leave = found.commands
    assert add.startswith("add server model:a/r3 127.0.0.1:20003 id ")
    assert " check observe layer4 " in add
    assert " maxconn 256" in add
    assert (health, enable) == ("enable health model:a/r3", "enable server model:a/r3")
    assert leave == "set server model:a/r1 state maint"
    assert found.leaving == {"model:a/r1"}


def test_the_same_is_no_change() -> None:
    """Nothing is said."""
    assert from_to(VIEW, VIEW) == Change(())


def test_keys_change_as_entries() -> None:
    """Added, changed, removed."""
    keyed = replace(VIEW, keys=(KEY,))
    assert from_to(VIEW, keyed) == Change(("add map keys.map AB12 team:0:5:0:*",))
    slower = replace(VIEW, keys=(replace(KEY, requests_per_minute=1),))
    assert from_to(keyed, slower) == Change(("set map keys.map AB12 team:0:1:0:*",))
    assert from_to(keyed, VIEW) == Change(("del map keys.map AB12",))


@pytest.mark.parametrize(
    "after",
    [
        replace(VIEW, routes=(*VIEW.routes, ModelRoute("c", "k"))),
        replace(VIEW, keys_required=True),
        replace(VIEW, routes=(replace(VIEW.routes[0], max_ongoing=3), VIEW.routes[1])),
        with_replicas(ONE, replace(TWO, port=1)),
        with_replicas(ONE, TWO, *(Upstream(f"n{n}", "127.0.0.1", 21000 + n) for n in range(400))),
        replace(VIEW, keys=tuple(KeyRule(f"k{n}", (f"{n:X}",)) for n in range(1001))),
    ],
    ids=["model", "keys-required", "options", "moved", "many-replicas", "many-keys"],
)
def test_everything_else_is_a_reload(after: GatewayView) -> None:
    """A model more, other rules, a replica that moved, or so much that reading anew is quicker."""
    assert from_to(VIEW, after) is None


def test_an_alias_is_an_entry() -> None:
    """Where there are others: only maps hold its name."""
    aliased = [replace(VIEW, aliases=tuple(Alias(name, (("a", 1),)) for name in names)) for names in ("c", "cd")]
    assert from_to(*aliased) == Change(("add map names.map d a",))
