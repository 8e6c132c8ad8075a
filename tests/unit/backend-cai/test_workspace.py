"""Finding the workspace, trusting it, and the stand-in as a program."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from tests.cai import Cai
from tests.certificates import FIRST, SECOND

from rayllm.errors import InputError
from rayllm_backend_cai.api import CaiClient, CertificateError
from rayllm_backend_cai.testing.__main__ import main
from rayllm_backend_cai.workspace import Workspace

SESSION = {
    "CDSW_DOMAIN": "ml.example.com",
    "CDSW_PROJECT_URL": "http://ml.example.com/api/v1/projects/12",
    "CDSW_PROJECT_ID": "aaaa-bbbb-cccc-dddd",
    "CDSW_APIV2_KEY": "inner",
}


@pytest.mark.parametrize(
    ("told", "env", "found"),
    [
        ({"host": "ml.example.com", "key": "k"}, {}, ("https://ml.example.com", "k", "")),
        ({}, {"CML_HOST": "https://ml.example.com/u1/x?y", "CML_API_KEY": "k"}, ("https://ml.example.com", "k", "")),
        ({}, SESSION, ("http://ml.example.com", "inner", "aaaa-bbbb-cccc-dddd")),
        ({"key": "k", "project": "p"}, SESSION, ("http://ml.example.com", "k", "p")),
        ({}, {"CDSW_DOMAIN": "h", "CDSW_APIV2_KEY": "k"}, ("https://h", "k", "")),
        ({"host": "http://127.0.0.1:8080", "key": "k"}, SESSION, ("http://127.0.0.1:8080", "k", "")),
    ],
)
def test_the_workspace_is_found(told: dict[str, str], env: dict[str, str], found: tuple[str, str, str]) -> None:
    """What was told, then CML_HOST, then the session's own, whose scheme stands in CDSW_PROJECT_URL."""
    workspace = Workspace.find(**told, env=env)  # type: ignore[arg-type]
    assert (workspace.url, workspace.key, workspace.project) == found


@pytest.mark.parametrize(
    ("told", "env", "why"),
    [
        ({}, {}, "set CML_HOST"),
        ({"host": "h"}, {}, "audience API"),
        ({"host": "elsewhere.example.com"}, SESSION, "no API key for https://elsewhere.example.com"),
        ({}, {**SESSION, "CDSW_APIV2_KEY": ""}, "API v2 is off"),
        ({"host": "h", "key": "with space"}, {}, "holds a space"),
        ({"host": "ftp://h", "key": "k"}, {}, "can't be read"),
        ({"host": "https://me:pw@h", "key": "k"}, {}, "can't be read"),
        ({"host": "https://[", "key": "k"}, {}, "can't be read"),
    ],
)
def test_a_workspace_that_is_not_found(told: dict[str, str], env: dict[str, str], why: str) -> None:
    """With what to do, and without a key or a password; a session's key goes to no other host."""
    with pytest.raises(InputError) as error:
        Workspace.find(**told, env=env)  # type: ignore[arg-type]
    assert why in str(error.value)
    assert not re.search("with space|me:pw|inner", str(error.value))


def test_addresses_of_applications() -> None:
    """The API's replies do not have them."""
    assert Workspace(url="https://ml.example.com", key="k").application_url("llm") == "https://llm.ml.example.com"


def test_inside_of_a_session(cai: Cai) -> None:
    """A script in a pod opens its own workspace with nothing told."""
    cai.write(
        inside="""
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.workspace import Workspace
workspace = Workspace.find()
with CaiClient(workspace) as client:
    print(client.account.check_key().username, client.projects.get(workspace.project).name)
"""
    )
    job = cai.job("inside.py", environment={"PYTHONPATH": os.pathsep.join(sys.path)})
    cai.ran(job, cai.client.jobs.start(cai.project, job), "succeeded")
    assert cai.fake.log("job") == "u1 llm\n"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"id": "p", "name": "over TLS"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        pass


class _Quiet(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that the client breaks off is what is tested."""


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[str]:
    """A workspace with a certificate of its own authority."""
    file = tmp_path / "server.pem"
    file.write_text(FIRST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with _Quiet(("127.0.0.1", 0), _Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_private_authority(over_tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named outright or by SSL_CERT_FILE; another one, or none, is not trusted, and the cure says what is needed."""
    good, other = tmp_path / "good.pem", tmp_path / "other.pem"
    good.write_text(FIRST)
    other.write_text(SECOND)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with CaiClient(Workspace(url=over_tls, key="k", ca=good)) as client:
        assert client.projects.get("p").name == "over TLS"
    for ca in (None, other):
        pauses: list[float] = []
        with (
            CaiClient(Workspace(url=over_tls, key="k", ca=ca), sleep=pauses.append) as client,
            pytest.raises(CertificateError, match="intermediate authority"),
        ):
            client.projects.get("p")
        assert pauses == []
    monkeypatch.setenv("SSL_CERT_FILE", str(good))
    with CaiClient(Workspace(url=over_tls, key="k")) as client:
        assert client.projects.get("p").name == "over TLS"
    with pytest.raises(InputError, match="none can't be read"):
        CaiClient(Workspace(url=over_tls, key="k", ca=tmp_path / "none"))


def test_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to reach it, knows the faults of a file, and ends with all that it started."""
    file = tmp_path / "faults.yaml"
    file.write_text("settings: {clone_s: 5}\nprojects: [llm]\nfaults: [{path: /usage, status: 503}]\n")
    argv = [sys.executable, "-m", "rayllm_backend_cai.testing", "--root", str(tmp_path / "root"), "--faults", str(file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        host, key = (program.stdout.readline().strip().partition("=")[2] for _ in range(2))
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{host}/api/v2/usage", headers=headers).status_code == 503
        projects = httpx.get(f"{host}/api/v2/projects", headers=headers).json()["projects"]
        assert [row["name"] for row in projects] == ["llm"]
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    file.write_text("faults: [{stauts: 503}]\n")
    monkeypatch.setattr(sys, "argv", argv[2:])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "faults.0.stauts" in capsys.readouterr().err


def test_times_are_times(cai: Cai) -> None:
    """With their zone, so that they compare with this machine's."""
    made = cai.client.applications.create(cai.project, cai.new())
    assert made.created_at
    age = dt.datetime.now(dt.timezone.utc) - made.created_at
    assert abs(age.total_seconds()) < 60
