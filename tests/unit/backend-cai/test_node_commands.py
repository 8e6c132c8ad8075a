"""How a node's Ray is started: arguments, environment, ports, files."""

from __future__ import annotations

import errno
import socket
import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from rayllm import ClusterError
from rayllm_backend_cai.node import environ, ports, ray_command, storage
from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.shared import HeadRecord, Shape

PLATFORM = {
    "RAYLLM_CAI_TASK": "worker",
    "RAYLLM_CAI_CLUSTER": "demo",
    "RAYLLM_CAI_NODE": "demo-w-1",
    "RAYLLM_CAI_GROUP": "w",
    "RAYLLM_HOME": "/home/cdsw/.rayllm",
    "CDSW_ENGINE_ID": "abcd1234efgh5678",
    "CDSW_IP_ADDRESS": "10.1.2.3",
    "CDSW_APP_PORT": "8100",
    "CDSW_READONLY_PORT": "8090",
}
POD = Pod.of(PLATFORM)
SHAPE = Shape(cpus=3.5, memory=16, gpus=2, accelerator="L40S", runtime="image")
AT = HeadRecord(epoch="e", address="10.1.2.9", gcs_port=6379, serve_port=20001, since=0)


def test_a_worker_joins_with_its_shape() -> None:
    """Under its application's name, with what Ray can't find out."""
    argv = ray_command.worker(POD, SHAPE, AT)
    assert {
        "--address=10.1.2.9:6379",
        "--node-ip-address=10.1.2.3",
        "--node-name=demo-w-1",
        "--labels=rayllm.io/group=w",
        "--num-cpus=3",
        "--num-gpus=2",
        f"--memory={(16 << 30) - (1 << 30) - (512 << 20)}",
        '--resources={"accelerator_type:L40S": 1}',
        "--temp-dir=/tmp/rl-abcd1234efgh5678/ray",
    } <= set(argv)
    assert "--head" not in argv


def test_the_heads_dashboard_is_on_loopback() -> None:
    """The pod's network sees Ray's own ports alone."""
    argv = ray_command.head(POD, SHAPE.model_copy(update={"gpus": 0}), gcs_port=6379, dashboard_port=20002)
    assert {"--head", "--port=6379", "--dashboard-host=127.0.0.1", "--dashboard-port=20002", "--num-gpus=0"} <= set(
        argv
    )
    assert not [word for word in argv if word.startswith(("--resources", "--address", "--labels"))]


def test_paths_of_rays_sockets_are_short() -> None:
    """The longest one stays below the 107 bytes that Linux takes."""
    session = "session_2026-11-30_03-42-41_123456_1234567/sockets/plasma_store"
    assert len(str(POD.ray / session)) < 107


def test_rays_environment_has_no_secret() -> None:
    """An allow-list: nobody knows what projects call their passwords."""
    secret = {
        "CDSW_APIV2_KEY": "k",
        "CDSW_API_KEY": "k",
        "CML_USER_PW": "k",
        "DB": "k",
        "PYTHONPATH": "k",
        "PIP_USER": "1",
    }
    wanted = {
        "LANG": "C",
        "HF_ENDPOINT": "h",
        "https_proxy": "p",
        "UV_INDEX_URL": "u",
        "no_proxy": "corp",
        "PATH": "/bin",
    }
    told = environ.of_ray(POD, {**PLATFORM, **secret, **wanted}, {})
    assert told.keys() & {*secret, *(name for name in PLATFORM if name != "RAYLLM_HOME")} == set()
    assert "k" not in told.values()
    assert {name: told[name] for name in ("LANG", "HF_ENDPOINT", "https_proxy", "UV_INDEX_URL")} == {
        name: wanted[name] for name in ("LANG", "HF_ENDPOINT", "https_proxy", "UV_INDEX_URL")
    }
    assert told["no_proxy"] == told["NO_PROXY"] == "corp,10.1.2.3,127.0.0.1,localhost"
    assert told["PATH"].endswith(":/bin")
    assert told["RAY_AUTH_TOKEN_PATH"] == "/home/cdsw/.rayllm/clusters/demo/token"
    assert told["RAYLLM_RUN"] == "/tmp/rl-abcd1234efgh5678/run"  # noqa: S108


def test_the_gateway_is_told_where_to_listen() -> None:
    """And where Ray's records and its dashboard are."""
    told = environ.of_head(POD, listen=8090, dashboard=20002, metrics=20003)
    assert told["RAYLLM_GATEWAY_LISTEN"] == "127.0.0.1:8090"
    assert told["RAYLLM_DASHBOARD"] == "127.0.0.1:20002"
    assert told["RAY_gcs_storage_path"] == "/home/cdsw/.rayllm/clusters/demo/gcs"


def held(host: str = "127.0.0.1") -> socket.socket:
    """A port that somebody has."""
    holder = socket.socket()
    holder.bind((host, 0))
    holder.listen()
    return holder


def test_the_port_that_the_launcher_leaves() -> None:
    """The second one where the first is held; none is an error that says so."""
    with held() as launcher:
        first = launcher.getsockname()[1]
        with held() as other:
            second = other.getsockname()[1]
            with pytest.raises(ClusterError, match=f"{first}, {second}"):
                ports.for_application([first, second])
        assert ports.for_application([first, second]) == second
    assert ports.for_application([first, second]) == first


def test_rays_port_is_the_usual_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless somebody of this machine has it."""
    monkeypatch.setenv("RAYLLM_RUN", str(tmp_path))
    with held("127.0.0.77") as other:
        monkeypatch.setattr(ports, "GCS", other.getsockname()[1])
        assert ports.for_gcs("127.0.0.78") == ports.GCS
        assert ports.for_gcs("127.0.0.77") not in {ports.GCS, 0}


def test_the_token_is_made_once(tmp_path: Path) -> None:
    """And is nobody else's to read, whoever put it there."""
    path = tmp_path / "token"
    token = storage.make_token(path)
    assert len(token) == 64
    path.chmod(0o644)
    assert storage.make_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_uploaded_secrets_become_private(tmp_path: Path) -> None:
    """The platform's uploads can be read by everybody."""
    (tmp_path / "KEY").write_text("s")
    (tmp_path / "KEY").chmod(0o644)
    storage.keep_private(tmp_path)
    assert stat.S_IMODE((tmp_path / "KEY").stat().st_mode) == 0o600
    storage.keep_private(tmp_path / "none")


def test_one_head_has_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one gets none; a disk without locks gives them to whoever asks."""
    folder = tmp_path / "clusters/demo/gcs"
    first = storage.lock(folder)
    assert isinstance(first, AbstractContextManager)
    with first:
        assert storage.lock(folder) is None
    again = storage.lock(folder)
    assert again
    again.__exit__(None, None, None)

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOLCK, "No locks available", str(path))

    monkeypatch.setattr(storage, "open_locked", refuse)
    assert storage.lock(folder) is not None


def test_a_pods_own_folder_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that others may enter is refused."""
    monkeypatch.setattr(Pod, "local", property(lambda _: tmp_path / "rl"))
    POD.make_local()
    POD.make_local()
    assert stat.S_IMODE((tmp_path / "rl/run").stat().st_mode) == 0o700
    (tmp_path / "rl").chmod(0o755)
    with pytest.raises(ClusterError, match="only this user"):
        POD.make_local()
    POD.remove_local()
    assert not (tmp_path / "rl").exists()
