"""Keys as HAProxy's maps hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rayllm.serving.haproxy import access
from rayllm.serving.haproxy.view import GatewayView, KeyRule

KEYS = (
    KeyRule("all", ("AA",)),
    KeyRule("few", ("BB",), names=("a", "b.2"), requests_per_minute=5, concurrent_requests=2),
    KeyRule("late", (), retiring=(("CC", 2_000_000_000), ("DD", 1_900_000_000))),
    KeyRule("none", ("EE",), names=()),
)
VIEW = GatewayView("demo", "127.0.0.1", 8000, 8001, (), Path("/run/x"), keys=KEYS)


def test_maps_can_be_read_back() -> None:
    """What HAProxy knows is enough to go on with, where the records are lost."""
    assert access.rules(access.maps(VIEW)) == KEYS
    assert access.rules({}) == ()


def test_an_old_key_ends_when_the_first_of_its_times_comes() -> None:
    """The grace of a rotation does not outlive the key."""
    key = KeyRule("me", ("AA",), retiring=(("BB", 300), ("CC", 100)), expires=200, spent_until=7)
    found = access.maps(replace(VIEW, keys=(key,)))
    assert found[access.KEYS_FILE] == "AA me:200:0:0:*\nBB me:200:0:0:*\nCC me:100:0:0:*\n"
    assert found[access.SPENT_FILE] == "me 7:minute\n"
