"""What commands need of the file before they ask the cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.operator.conftest import FILE, MemoryBackend, Open

from rayllm.backends import PlatformNode
from rayllm.cli.down import down
from rayllm.cli.logs import logs
from rayllm.cli.nodes import nodes_list, nodes_logs, nodes_scale
from rayllm.cli.status import status
from rayllm.cli.up import up
from rayllm.config import ConfigErrors
from rayllm.errors import ClusterError

KEYS = "gateway: {keys: {env: RAYLLM_API_KEYS}}\n"


@pytest.fixture
def file(opened: Open, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names API keys that this machine does not have; its cluster starts."""
    monkeypatch.delenv("RAYLLM_API_KEYS", raising=False)
    nodes = [PlatformNode(name="demo", state="starting", head=True)]
    session = opened(FILE, "nodes", state="starting", nodes=nodes)
    assert isinstance(session.backend, MemoryBackend)
    monkeypatch.setattr("rayllm.cli.opening.discover", lambda _: session.plugins)
    path = session.checked.path
    path.write_text(FILE + KEYS)
    return path


@pytest.mark.parametrize(
    "command",
    [
        status,
        partial(logs, "small"),
        nodes_list,
        partial(nodes_logs, "demo", lines=1),
        partial(nodes_scale, "gpu", 1),
        partial(down, yes=True),
    ],
)
def test_who_neither_sets_nor_shows_keys_needs_none(file: Path, command: Callable[..., Any]) -> None:
    """Another machine may have them."""
    try:
        command(file=file)
    except ClusterError as problem:
        assert "the cluster of demo is starting" in str(problem)  # noqa: PT017 - it came as far as that


def test_who_sets_them_does(file: Path) -> None:
    """It is said before anything is changed."""
    with pytest.raises(ConfigErrors, match="RAYLLM_API_KEYS is not set"):
        up(file=file)
