"""A gateway's folder: its own while it lives, gone when it goes, cleared up after a kill."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rayllm.serving.haproxy.port_claim import PortClaim
from rayllm.serving.processes.ports import hold_port
from rayllm.serving.run_dir import RunDir

ADDRESS = ("127.0.0.1", 8000)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A RayLLM home for this test alone."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    return tmp_path


def test_it_is_for_this_user_alone(home: Path) -> None:
    """It holds internal keys."""
    made = RunDir("demo", *ADDRESS)
    assert made.path.parent == home / "run" / "demo"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    made.remove()
    assert not made.path.exists()


def test_what_a_killed_gateway_left_goes_and_a_living_ones_stays() -> None:
    """During an update two gateways of a deployment live side by side."""
    living = RunDir("demo", *ADDRESS)
    abandoned = living.path.parent / "killed"
    abandoned.mkdir()
    (abandoned / "haproxy.cfg").write_text("keys")
    (abandoned / "lock").touch()
    made = RunDir("demo", *ADDRESS)
    assert not abandoned.exists()
    assert living.path.exists()
    made.remove()
    living.remove()


def test_another_deployments_folders_are_left_alone() -> None:
    """Even abandoned ones."""
    other = RunDir("other", *ADDRESS)
    RunDir("demo", *ADDRESS).remove()
    assert other.path.exists()
    other.remove()


def test_a_nodes_own_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RayLLM's home may be on a disk that several nodes share: what is the node's alone is elsewhere then."""
    monkeypatch.setenv("RAYLLM_RUN", str(tmp_path / "node"))
    made, port = RunDir("demo", *ADDRESS), hold_port()
    claim = PortClaim.take("demo", "127.0.0.1", port.number + 10_000)
    assert made.path.parent == tmp_path / "node" / "demo"
    assert {path.name for path in (tmp_path / "node" / "ports").iterdir()} == {
        str(port.number),
        str(port.number + 10_000),
    }
    assert not (home / "run").exists()
    claim.release()
    port.release()
    made.remove()
