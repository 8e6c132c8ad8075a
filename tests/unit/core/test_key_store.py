"""The keys in the records: what a change does, and what is left when the file is lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayllm.serving.haproxy import access
from rayllm.serving.haproxy.view import GatewayView, KeyRule
from rayllm.serving.key_limits import KeyLimits
from rayllm.serving.records.key_record import known_to_haproxy
from rayllm.serving.records.keys import KeyConflictError, KeyStore

A, B, C = ("A" * 64, "B" * 64, "C" * 64)
LIMITS = KeyLimits(models=("one",), requests_per_minute=5, tokens_per_day=1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the records."""
    return tmp_path / "records/demo.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[KeyStore]:
    """Without keys."""
    made = KeyStore(path)
    yield made
    made.close()


def rules(store: KeyStore) -> dict[str, KeyRule]:
    """What HAProxy would be told."""
    return {rule.id: rule for rule in store.rules({}, {})}


def test_what_was_added_is_there_again(store: KeyStore, path: Path) -> None:
    """With its limits, for whoever opens the file next; the file is for this user alone."""
    store.add("me", A, LIMITS)
    again = KeyStore(path)
    assert again.all() == store.all()
    (rule,) = again.rules({}, {"me": 99})
    assert (rule.digests, rule.names, rule.requests_per_minute, rule.tokens_per_day) == ((A,), ("one",), 5, 1000)
    assert rule.spent_until == 99
    assert again.all()[0].shown() == {
        **LIMITS.to_json(),
        "name": "me",
        "from_file": False,
        "created": store.all()[0].created,
        "revoked": None,
    }
    assert path.stat().st_mode & 0o077 == 0
    again.close()


def test_aliases_of_a_keys_models(store: KeyStore) -> None:
    """One is a key's own if it may use every model that it stands for."""
    store.add("me", A, KeyLimits(models=("one", "two", "gone")))
    (rule,) = store.rules({"both": {"one": 1, "two": 9}, "more": {"one": 1, "three": 1}, "first": {"one": 1}}, {})
    assert rule.names == ("both", "first", "gone", "one", "two")


def test_rotating(store: KeyStore) -> None:
    """The old key stays good for its grace, if there is one; limits stay."""
    store.add("me", A, LIMITS)
    start = int(time.time())
    store.rotate("me", B, 100)
    store.rotate("me", C, 0)
    (rule,) = store.rules({}, {})
    assert (rule.digests, rule.requests_per_minute) == ((C,), 5)
    ((old, until),) = rule.retiring
    assert old == A
    assert start + 100 <= until <= time.time() + 100
    with pytest.raises(KeyConflictError, match="the same key is known as me"):
        store.add("you", A, LIMITS)


def test_revoking(store: KeyStore) -> None:
    """HAProxy forgets it, the list does not; its name may be given again."""
    store.add("me", A, LIMITS)
    store.revoke("me")
    assert (rules(store), len(store.all()), bool(store.revoke("me").revoked)) == ({}, 1, True)
    with pytest.raises(KeyConflictError, match="was revoked"):
        store.rotate("me", B, 0)
    store.add("me", B, KeyLimits())
    assert rules(store)["me"].digests == (B,)


def test_what_is_not_there(store: KeyStore) -> None:
    """Is said by name; a name is given once."""
    with pytest.raises(KeyError, match="you"):
        store.revoke("you")
    with pytest.raises(KeyError, match="you"):
        store.rotate("you", A, 0)
    store.add("me", A, LIMITS)
    with pytest.raises(KeyConflictError, match="there is a key me already"):
        store.add("me", B, LIMITS)


def test_the_files_keys(store: KeyStore) -> None:
    """They come, change and go with the file; those that were added stay."""
    store.add("added", A, LIMITS)
    store.bootstrap({"one": B, "two": C})
    assert {name: rule.digests for name, rule in rules(store).items()} == {"added": (A,), "one": (B,), "two": (C,)}
    store.bootstrap({"one": C, "two": B})
    assert {name: rule.digests for name, rule in rules(store).items()} == {"added": (A,), "one": (C,), "two": (B,)}
    store.bootstrap({"one": C})
    assert rules(store).keys() == {"added", "one"}
    store.bootstrap({"one": C, "two": B})
    assert rules(store).keys() == {"added", "one", "two"}
    with pytest.raises(KeyConflictError, match="comes from the deployment's file"):
        store.rotate("one", "D" * 64, 0)
    with pytest.raises(KeyConflictError, match="the same key is known as added"):
        store.bootstrap({"other": A})


def test_a_revoked_key_of_the_file_stays_revoked(store: KeyStore) -> None:
    """Until the file has another in its place."""
    store.bootstrap({"one": A})
    store.revoke("one")
    store.bootstrap({"one": A})
    assert not rules(store)
    store.bootstrap({"one": B})
    assert rules(store)["one"].digests == (B,)


def test_lost_records(path: Path, tmp_path: Path) -> None:
    """What HAProxy knows is what is left, and is written down anew."""
    first = KeyStore(path)
    first.add("me", A, KeyLimits(models=("one",), requests_per_minute=5, expires=2_000_000_000))
    first.rotate("me", B, 1000)
    first.close()
    view = GatewayView("demo", "127.0.0.1", 8000, 8001, (), tmp_path, keys=first.rules({}, {}))
    for name, text in access.maps(view).items():
        (tmp_path / name).write_text(text)
    path.write_bytes(b"not a database at all" * 100)
    for file in path.parent.glob("*-*"):
        file.unlink()
    for _ in range(2):
        store = KeyStore(path, known_to_haproxy(tmp_path))
        (rule,) = store.rules({}, {})
        assert (rule.digests, rule.names, rule.requests_per_minute, rule.expires) == ((B,), ("one",), 5, 2_000_000_000)
        assert [digest for digest, _ in rule.retiring] == [A]
        store.close()
    assert known_to_haproxy(tmp_path / "none") == ()


def test_records_that_vanish_meanwhile(store: KeyStore, path: Path) -> None:
    """The next change writes down all that is known."""
    store.add("me", A, LIMITS)
    for file in path.parent.iterdir():
        file.unlink()
    store.add("you", B, LIMITS)
    again = KeyStore(path)
    assert [key.id for key in again.all()] == ["me", "you"]
    again.close()


def test_records_that_cannot_be_written(tmp_path: Path) -> None:
    """What is known goes on; a change is refused, and leaves things as they were."""
    (tmp_path / "file").write_text("")
    store = KeyStore(tmp_path / "file/demo.sqlite", (KeyRule("me", (A,)),))
    assert rules(store)["me"].digests == (A,)
    with pytest.raises((OSError, sqlite3.Error)):
        store.add("you", B, LIMITS)
    assert rules(store).keys() == {"me"}


@pytest.mark.parametrize(
    "told",
    [
        {"models": "one"},
        {"models": [1]},
        {"models": ["a/b"]},
        {"models": ["m"] * 1001},
        {"expires": -1},
        {"requests_per_minute": 0},
        {"concurrent_requests": True},
        {"tokens_per_minute": "5"},
        {"tokens_per_day": 1 << 60},
    ],
)
def test_limits_that_are_none(told: dict[str, object]) -> None:
    """The name of what is wrong is said."""
    with pytest.raises(ValueError, match=next(iter(told))):
        KeyLimits.from_json(told)
