"""Plays a node of a cluster on Cloudera AI, without Ray: what `python -m rayllm_backend_cai.node` is to an operator.

A program, run with the environment of an application. A head writes its token and `head.json`, answers on the
application's port for Ray's dashboard, lists the workers that live, and keeps the groups of `wanted.json`. A worker
says that it is ready. With `.watchful` in the project's folder, a head also looks for workers that are there twice,
without being asked; `.misfortune/NAME` in the project's folder makes a node end at once with that text as last words,
and `.slowness/NAME` makes it say that text as long as it is there, and join only then.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rayllm.testing.fake_dashboard import FakeDashboard, Handler

ENV = os.environ
NAME, CLUSTER = ENV["RAYLLM_CAI_NODE"], ENV["RAYLLM_CAI_CLUSTER"]
FOLDER = Path(ENV["RAYLLM_HOME"], "clusters", CLUSTER)
WANTED = tuple(FOLDER / name for name in ("wanted.json", "wanted.next.json", "wanted.json"))
PORT = int(ENV["CDSW_APP_PORT"])
FOLLOW_S = 0.3


def write(name: str, text: str) -> None:
    """A file of the cluster's folder, whole or not at all, for this user alone."""
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(0o600)
    draft.write_text(text)
    draft.replace(path)


def say(state: str, reason: str = "") -> None:
    """The node's own record."""
    where = {"engine": ENV["CDSW_ENGINE_ID"], "address": ENV["CDSW_IP_ADDRESS"]}
    write(f"nodes/{NAME}.json", json.dumps({"state": state, "reason": reason, "since": time.time(), **where}))


def join() -> None:
    """Be ready, as long as this process lives."""
    say("ready")
    write(f"pids/{NAME}.{os.getpid()}", str(os.getpid()))  # two may have one name for a while


def living() -> list[str]:
    """Nodes whose process runs."""
    return sorted({path.stem for path in (FOLDER / "pids").glob("[!.]*") if _runs(path)})


def _runs(path: Path) -> bool:
    try:
        os.kill(int(path.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


class Answer(Handler):
    """Ray's dashboard below `/rayllm/ray`, and the node's health without a token."""

    def do_GET(self) -> None:  # noqa: N802  the library's name
        """Answer any method."""
        if self.path == "/health":
            self.answer(200, {})
            return
        self.path = self.path.removeprefix("/rayllm/ray")
        self.server.nodes = [
            {"node_id": name, "node_name": name, "state": "ALIVE", "is_head_node": name == CLUSTER} for name in living()
        ]
        super().do_GET()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  the library's names


class Head(FakeDashboard):
    """On the application's port."""

    def server_bind(self) -> None:
        """There."""
        self.server_address = ("127.0.0.1", PORT)
        super().server_bind()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer as a head does."""
        Answer(request, client_address, self)


class Health(BaseHTTPRequestHandler):
    """A worker's."""

    def do_GET(self) -> None:
        """200 for all."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""


def head() -> None:
    """Be the head, until killed."""
    token = FOLDER / "token"
    if not token.exists():
        write("token", secrets.token_hex(32))
    for file in (FOLDER.parents[1] / "secrets").glob("*"):
        file.chmod(0o600)
    record = {"epoch": ENV["CDSW_ENGINE_ID"], "address": ENV["CDSW_IP_ADDRESS"], "gcs_port": 6379, "serve_port": 8123}
    write("head.json", json.dumps({**record, "since": time.time()}))
    Head(token.read_text())
    join()
    while True:
        time.sleep(FOLLOW_S)
        follow()


def follow() -> None:
    """Make the workers that lack, remove those that are too much."""
    try:
        groups = json.loads(next(path for path in WANTED if path.exists()).read_text())["groups"]
    except (StopIteration, OSError, ValueError):  # being written
        return
    wanted = {f"{CLUSTER}-{group}-{number + 1}" for group, told in groups.items() for number in range(told["min"])}
    if wanted != set(living()) - {CLUSTER} or Path(ENV["HOME"], ".watchful").exists():
        keep(wanted)


def keep(wanted: set[str]) -> None:
    """The same, asking the platform."""
    from rayllm_backend_cai.api import CaiClient
    from rayllm_backend_cai.applications import group_of, of_cluster, worker_application
    from rayllm_backend_cai.shared import Wanted
    from rayllm_backend_cai.workspace import Workspace

    told = next(filter(None, map(Wanted.read, WANTED)), None)
    if told is None:
        return
    workspace = Workspace.find(env=ENV)
    with CaiClient(workspace) as client:
        project = workspace.project
        there: dict[str, Any] = {}
        for one in sorted(of_cluster(client.applications.all(project), CLUSTER), key=lambda one: str(one.created_at)):
            if group_of(one) and there.setdefault(one.name, one) is not one:
                client.applications.delete(project, one.id)
        for name, one in there.items():
            if name not in wanted or one.status in {"failed", "stopped"}:
                client.applications.delete(project, one.id)
        for name in wanted - there.keys():
            group, _, number = name.removeprefix(f"{CLUSTER}-").rpartition("-")
            client.applications.create(project, worker_application(told, group, int(number)))


def start_slowly(slowness: Path) -> None:
    """Be up to the platform, and say what is in the file until that is gone."""
    say("starting", slowness.read_text())
    with ThreadingHTTPServer(("127.0.0.1", PORT), Health) as server:
        threading.Thread(target=server.serve_forever).start()
        while slowness.exists():
            time.sleep(0.05)
        server.shutdown()


def main() -> None:
    """Be the node."""
    misfortune = Path(ENV["HOME"], ".misfortune", NAME)
    if misfortune.exists():
        sys.exit(misfortune.read_text())
    slowness = Path(ENV["HOME"], ".slowness", NAME)
    if slowness.exists():
        start_slowly(slowness)
    if ENV["RAYLLM_CAI_TASK"] == "head":
        head()
    join()
    ThreadingHTTPServer(("127.0.0.1", PORT), Health).serve_forever()


if __name__ == "__main__":
    main()
