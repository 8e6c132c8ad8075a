"""A stand-in for a Cloudera AI workspace with a project, its client, and a browser that finds applications by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.conftest import until

from rayllm_backend_cai.api import CaiClient, Call
from rayllm_backend_cai.api.records import Application, JobRun, NewApplication, NewJob
from rayllm_backend_cai.testing import FakeCai, Settings

SERVER = """
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = {"path": self.path, "headers": dict(self.headers), "env": dict(os.environ), "cwd": os.getcwd()}
        status = 503 if self.path == "/not-yet" else 200
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass

port = int(os.environ[os.environ.get("LISTEN_ON", "CDSW_APP_PORT")])
http.server.ThreadingHTTPServer((os.environ.get("LISTEN_AT", "127.0.0.1"), port), Handler).serve_forever()
"""
"""An application that answers every path with what it was asked and where it runs."""
UP = """
import os, socket

listening = socket.create_server(("127.0.0.1", int(os.environ["CDSW_APP_PORT"])))
while True:
    asking, _ = listening.accept()
    with asking:
        if asking.recv(65536):
            asking.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n")
"""
"""One that answers that it is up, and starts in less time."""
WAIT = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


@contextmanager
def opened() -> Iterator[Cai]:
    """A workspace with a project of two scripts. All goes well in it, at once, until a test says otherwise."""
    pauses: list[float] = []
    calls: list[Call] = []
    with FakeCai() as fake, CaiClient(fake.workspace, on_call=calls.append, sleep=pauses.append) as client:
        yield Cai(fake, client, fake.add_project("llm", {"server.py": SERVER, "wait.py": WAIT}), pauses, calls)


@dataclass
class Cai:
    """A workspace, a project in it and the client."""

    fake: FakeCai
    client: CaiClient
    project: str
    pauses: list[float]
    """Seconds that the client wanted to pause; it did not wait."""
    calls: list[Call] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """Ids by the letters that tests write for them."""

    def id(self, letter: str) -> str:
        """An id by its letter; the letter itself where there is none."""
        return self.ids.get(letter, letter)

    @property
    def settings(self) -> Settings:
        """How the workspace behaves."""
        return self.fake.settings

    def write(self, **scripts: str) -> None:
        """Put scripts onto the shared disk: `name="code"` is name.py."""
        for name, code in scripts.items():
            (self.fake.folder(self.project) / f"{name}.py").write_text(code)

    def new(self, name: str = "app", script: str = "server.py", **more: Any) -> NewApplication:
        """An application that could be made."""
        told: dict[str, Any] = {"subdomain": name, "runtime_identifier": self.fake.image, **more}
        return NewApplication(name=name, script=script, **told)

    def start(self, name: str = "app", script: str = "server.py", status: str = "running", **more: Any) -> Application:
        """Make an application and wait until it is so far."""
        made = self.client.applications.create(self.project, self.new(name, script, **more))
        return self.wait(made, status)

    def wait(self, application: Application, status: str) -> Application:
        """Wait until an application is so far."""

        def look() -> Application | None:
            now = self.client.applications.get(self.project, application.id)
            return now if now.status == status else None

        found = until(f"{application.name} is {status}", look, 20)
        assert found
        return found

    def job(self, script: str, name: str = "job", **more: Any) -> str:
        """Make a job; returns its id."""
        new = NewJob(name=name, script=script, runtime_identifier=self.fake.image, **more)
        return self.client.jobs.create(self.project, new).id

    def ran(self, job: str, run: JobRun, status: str) -> JobRun:
        """Wait until a run is so far."""

        def look() -> JobRun | None:
            now = self.client.jobs.run(self.project, job, run.id)
            return now if now.status == status else None

        found = until(f"the run is {status}", look, 20)
        assert found
        return found

    def browse(self, subdomain: str, path: str = "/", key: str = "", **headers: str) -> httpx.Response:
        """What an application's address answers."""
        told = {"host": f"{subdomain}.localhost", **headers} | ({"authorization": f"Bearer {key}"} if key else {})
        return httpx.get(f"{self.fake.url}{path}", headers=told, timeout=20)
