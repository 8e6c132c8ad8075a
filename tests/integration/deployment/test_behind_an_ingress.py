"""A deployment on a cluster whose platform tells the gateway where it may listen, and that it leads to Ray."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, free_port, until
from tests.integration.deployment.conftest import QUICK

from rayllm.serving.haproxy.door import Door
from rayllm.serving.haproxy.ingress import PREFIX
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.processes.supervised import Supervised

KEY = "sk-" + "k" * 40
BACK_S = 30.0


class Platform:
    """One node as a platform makes it: a port for the gateway, a folder of its own, Ray with a token, and a door."""

    def __init__(self, folder: Path) -> None:
        self.rayllm = Rayllm(folder, folder / "home")
        self.run = folder / "node"
        self.port, self.dashboard = free_port(), free_port()
        self.token = folder / "token"
        self.token.write_text(secrets.token_hex(32))

    @contextlib.contextmanager
    def stands(self, short: Path) -> Iterator[None]:
        """While Ray and the door run; `short` is a folder for Ray's sockets."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAYLLM_RUN", str(self.run))
            patch.setenv("THE_KEYS", KEY)
            self.door = Door(self.run, ("127.0.0.1", self.port), ("127.0.0.1", self.dashboard), "it")
            self.door.start()
            argv = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
            argv += ["--node-ip-address=127.0.0.1", f"--port={free_port()}", f"--temp-dir={short}", "--num-cpus=4"]
            argv += ["--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}", "--no-monitor"]
            argv += [
                "--object-store-memory=100000000",
                "--dashboard-agent-listen-port=0",
                "--include-log-monitor=false",
            ]
            log = self.rayllm.folder / "ray.log"
            head = Supervised.start(argv, env={**clean_environ(), **self._told()}, log=log, marker="ingress-test")
            try:
                yield
            finally:
                head.stop()
                self.door.stop()

    def _told(self) -> dict[str, str]:
        return {
            "RAYLLM_HOME": str(self.rayllm.home),
            "RAYLLM_RUN": str(self.run),
            "RAYLLM_GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "RAYLLM_DASHBOARD": f"127.0.0.1:{self.dashboard}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask Ray's dashboard by way of the gateway's port, through an ingress with a log-in of its own."""
        headers = {"authorization": "Bearer platform", "x-ray-authorization": f"Bearer {self.token.read_text()}"}
        headers |= more.pop("headers", {})
        url = f"http://127.0.0.1:{self.port}{PREFIX}{path}"
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.request(method, url, headers=headers, **more)

    def is_up(self) -> bool:
        """Whether Ray answers, by way of the door."""
        with contextlib.suppress(httpx.HTTPError):
            return self.ask("GET", "/api/version").status_code == 200
        return False


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """It stands, with the deployment on it, whose file says that the gateway listens on all addresses."""
    made = Platform(tmp_path_factory.mktemp("platform"))
    with tempfile.TemporaryDirectory(dir="/tmp") as short, made.stands(Path(short)):
        until("Ray answers", made.is_up, 60)
        address = {"address": f"http://127.0.0.1:{made.dashboard}", "token": made.token.read_text()}
        content = {
            "name": "it",
            "cluster": {"backend": "ray", "options": address},
            "models": {"one": QUICK},
            "gateway": {"host": "0.0.0.0", "port": made.port, "keys": {"env": "THE_KEYS"}},  # noqa: S104
        }
        made.rayllm.write(yaml.safe_dump(content))
        made.rayllm("up", "--yes")
        yield made


def models(platform: Platform) -> httpx.Response:
    """What the endpoint lists."""
    url = f"http://127.0.0.1:{platform.port}/v1/models"
    return httpx.get(url, headers={"x-api-key": KEY}, trust_env=False, timeout=30)


def test_it_listens_where_the_platform_says(platform: Platform) -> None:
    """Not where the file says; the door has left, and what is the node's own is not in RayLLM's home."""
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", platform.port)):
        pass
    assert [model["id"] for model in models(platform).json()["data"]] == ["one"]
    assert platform.door.poll() is None
    assert platform.door._process is None
    assert (platform.run / "ports" / str(platform.port)).read_text() == "it"
    assert not (platform.rayllm.home / "run").exists()
    assert "No changes" in platform.rayllm("plan")


def test_what_an_operator_asks_of_ray(platform: Platform) -> None:
    """Ray takes its token from where the platform leaves it, though another `authorization` came with it."""
    ask = platform.ask
    assert "it--rayllm" in ask("GET", "/api/serve/applications/").json()["applications"]
    (node,) = ask("GET", "/api/v0/nodes", params={"detail": "1"}).json()["data"]["result"]["result"]
    assert ask("GET", "/nodes", params={"view": "summary"}).json()["data"]["summary"]
    assert ask("PUT", "/api/packages/gcs/x.zip", content=bytes(5 << 20)).status_code == 200
    assert ask("GET", "/api/packages/gcs/x.zip").status_code == 200
    file = {"node_id": node["node_id"], "filename": "rayllm/it--gateway.log", "lines": "-1"}
    assert ask("GET", "/api/v0/logs/file", params=file).status_code == 200
    assert ask("GET", "/api/actors").status_code == 404


def test_who_has_no_token_of_rays(platform: Platform) -> None:
    """The gateway asks for one, Ray whether it is right."""
    for wrong, status in (("", 401), ("Bearer wrong", 403)):
        answer = platform.ask("GET", "/api/serve/applications/", headers={"x-ray-authorization": wrong})
        assert answer.status_code == status


def test_the_door_after_the_gateway(platform: Platform) -> None:
    """What takes the gateway away goes through it, is answered, and so is everything after it."""
    http = platform.ask("GET", "/api/serve/applications/").json()["http_options"]
    empty = {"http_options": {name: http[name] for name in ("host", "port")}, "applications": []}
    assert platform.ask("PUT", "/api/serve/applications/", json=empty).status_code == 200
    until("the door answers", lambda: "no model is deployed yet" in models(platform).text, BACK_S)
    assert platform.ask("GET", "/api/version").status_code == 200
