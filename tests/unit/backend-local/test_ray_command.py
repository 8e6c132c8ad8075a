"""What Ray's nodes are started with; Ray itself is not needed for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rayllm_backend_local import ray_command
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.state import Folder, State

STATE = State(id="abc", temp_dir="/tmp/t", gcs_port=1, dashboard_port=2, metrics_port=3, serve_port=4)  # noqa: S108


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A cluster's folder in a home of its own."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    return Folder("demo")


def test_head_is_on_loopback() -> None:
    """The head listens on loopback, on the ports of the state, and takes all cores."""
    argv = ray_command.head(STATE, LocalOptions(), 8)
    assert argv[0] == sys.executable
    assert Path(argv[1]).name == "ray_start.py"
    assert argv[2] == "start"
    assert {"--head", "--block", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--port=1"} < set(argv)
    assert {"--dashboard-port=2", "--num-cpus=8", f"--temp-dir={STATE.temp_dir}"} < set(argv)
    assert not any(word.startswith(("--num-gpus", "--address")) for word in argv)


def test_worker_joins_the_head() -> None:
    """A worker has the head's address, no GPU, and nothing that only a head takes."""
    argv = ray_command.worker(STATE, LocalOptions(nodes=3), 8, 2)
    assert {"--address=127.0.0.1:1", "--num-gpus=0", "--num-cpus=2", f"--temp-dir={STATE.temp_dir}/w2"} < set(argv)
    assert not any(word.startswith(("--head", "--port", "--dashboard-host", "--dashboard-port")) for word in argv)


@pytest.mark.parametrize(
    ("options", "cpus"),
    [
        (LocalOptions(), 8),
        (LocalOptions(cpus=3), 3),
        (LocalOptions(nodes=3), 2),
        (LocalOptions(nodes=2, cpus=6), 3),
        (LocalOptions(nodes=4, cpus=1), 1),
    ],
)
def test_cores_are_shared_out(options: LocalOptions, cpus: int) -> None:
    """Cores are shared out evenly, and each node has at least one."""
    assert f"--num-cpus={cpus}" in ray_command.head(STATE, options, 8)
    assert f"--num-cpus={cpus}" in ray_command.worker(STATE, options, 8, 1)


def test_gpus_of_the_head() -> None:
    """A number of GPUs that was asked for is passed to the head, zero too."""
    assert "--num-gpus=2" in ray_command.head(STATE, LocalOptions(gpus=2), 8)
    assert "--num-gpus=0" in ray_command.head(STATE, LocalOptions(gpus=0), 8)


def test_environment(folder: Folder) -> None:
    """The person's variables stay, the token is named by its file only, and nothing is asked of a proxy."""
    surrounding = {"PATH": "/bin", "HOME": "/h", "HF_HOME": "/hf", "no_proxy": "corp"}
    env = ray_command.environ(folder, replace(STATE, metrics_port=5), surrounding)
    assert {"HOME": "/h", "HF_HOME": "/hf", "RAY_AUTH_MODE": "token"}.items() < env.items()
    assert env["PATH"].endswith(":/bin")
    assert env["no_proxy"] == env["NO_PROXY"] == "corp,127.0.0.1,localhost"
    assert env["RAY_AUTH_TOKEN_PATH"] == str(folder.token_file)
    assert env["RAYLLM_HOME"] == str(folder.home)
    assert "RAY_AUTH_TOKEN" not in env
    assert env["DASHBOARD_METRIC_PORT"] == "5"
