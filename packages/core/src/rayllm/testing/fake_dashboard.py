"""A stand-in for Ray's dashboard over HTTP, with a Serve that only remembers: what tests of backends talk to.

It also answers for the gateway's admin API, so one address serves as `dashboard_url` and as `gateway_url`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Json = dict[str, Any]
Disturbance = Callable[["Handler"], bool]
"""Called before an answer; True if it has answered, or hung up, itself."""


@dataclass
class App:
    """How an application does that was or will be deployed."""

    status: str = "RUNNING"
    message: str = ""
    replicas: list[Json] | None = None
    """Serve's report on each replica; by default as many running ones as were asked for."""


@dataclass
class Jobs:
    """What Ray's jobs do; all are alike."""

    told: dict[str, Json] = field(default_factory=dict)
    """What each was submitted with, by its id; those that were deleted are gone."""
    log: str = ""
    """What every job prints."""
    status: str = "SUCCEEDED"
    """Of every job that was not stopped."""
    stopped: set[str] = field(default_factory=set)
    """Ids of those that were stopped."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Json]:
        """Status and body, as Ray's `/api/jobs/` gives them."""
        name, _, what = path.removeprefix("/api/jobs/").partition("/")
        if method == "POST" and not name:
            asked = json.loads(body)
            self.told[asked["submission_id"]] = asked
            return 200, {"submission_id": asked["submission_id"]}
        if name not in self.told:
            return 404, {"message": f"Job {name} does not exist"}
        if what == "logs":
            return 200, {"logs": self.log}
        if what == "stop":
            self.stopped.add(name)
            return 200, {"stopped": True}
        if method == "DELETE":
            del self.told[name]
            return 200, {"deleted": True}
        return 200, {"status": "STOPPED" if name in self.stopped else self.status, "message": "as it was told"}


@dataclass
class Serve:
    """What Serve was told, and what it reports."""

    told: dict[str, Json] = field(default_factory=dict)
    """Config of every application, by name."""
    does: dict[str, App] = field(default_factory=dict)
    """How it does, by name; all is well with one that is not in here."""
    deleting: set[str] = field(default_factory=set)
    keeps: set[str] = field(default_factory=set)
    """Applications that stay DELETING instead of being gone at once."""
    options: Json = field(default_factory=dict)
    """`proxy_location`, `http_options` and `target_capacity`, once it was started."""

    def put(self, config: Mapping[str, Any]) -> None:
        """Take a config: what it lacks goes."""
        apps = {app["name"]: app for app in config["applications"]}
        self.deleting = (self.deleting | self.told.keys() - apps.keys()) & self.keeps - apps.keys()
        self.told = apps
        http = {"host": "127.0.0.1", "port": 8000} | config.get("http_options", {})
        self.options = {"proxy_location": config.get("proxy_location", "EveryNode"), "http_options": http} | {
            "target_capacity": config.get("target_capacity")
        }

    def details(self) -> Json:
        """As `GET /api/serve/applications/` answers."""
        apps = {name: self._app(name, config) for name, config in self.told.items()}
        going = {name: _report(name, App("DELETING"), None) for name in self.deleting}
        return {
            "controller_info": {},
            "proxies": {},
            "target_capacity": None,
            **self.options,
            "applications": apps | going,
        }

    def _app(self, name: str, config: Json) -> Json:
        app = self.does.get(name, App())
        count = config["deployments"][0].get("num_replicas", 1)
        running = [{"state": "RUNNING", "node_id": "n1", "start_time_s": time.time()}] * count
        replicas = running if app.replicas is None else app.replicas
        told = config["deployments"][0].get("ray_actor_options", {})
        needs = {"CPU": told.get("num_cpus", 1), "GPU": told.get("num_gpus", 0), "memory": told.get("memory", 0)}
        deployment = {"message": app.message, "target_num_replicas": count, "replicas": replicas}
        deployment["required_resources"] = {name: amount for name, amount in needs.items() if amount}
        return _report(name, app, config) | {"deployments": {config["deployments"][0]["name"]: deployment}}


def _report(name: str, app: App, config: Json | None) -> Json:
    return {
        "name": name,
        "status": app.status,
        "message": app.message,
        "last_deployed_time_s": 0.0,
        "deployed_app_config": config,
        "deployments": {},
    }


class FakeDashboard(ThreadingHTTPServer):
    """Listens on a free port of loopback. Use it as a context manager."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, token: str | None = None, *, path: str = "", ingress: str | None = None) -> None:
        """Listen.

        Args:
            token: Ray's; None where anybody is answered.
            path: that the dashboard is below: `/rayllm/ray`.
            ingress: the `Authorization` that the platform's ingress before it wants to see, and takes away; whoever
                shows another is sent to log in.
        """
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.path = path
        self.ingress = ingress
        self.ray_version = "2.60.0"
        self.serve = Serve()
        self.jobs = Jobs()
        self.packages: dict[str, bytes] = {}
        self.nodes: list[Json] = []
        self.hardware: list[Json] = []
        """Each node as `/nodes?view=summary` reports it."""
        self.logs: dict[str, str] = {}
        """Text of each log file, by name."""
        self.snapshot: Json | None = None
        """The directory's, for the admin API; None while no gateway answers."""
        self.holder: str | None = None
        """Who has the right to change the deployment."""
        self.keys: dict[str, Json] = {}
        """The gateway's API keys, by name, as `rayllm.serving.admin_keys` shows them."""
        self.usage: list[Json] = []
        """What was used, as the admin API tells it."""
        self.asked: list[str] = []
        """`GET /path` of every request."""
        self.sent: list[dict[str, str]] = []
        """The headers of every request, by lower-case name."""
        self.disturbances: deque[Disturbance] = deque()
        """The next requests meet them, one each."""
        self.before_puts: deque[Callable[[Json], Json | None]] = deque()
        """The next PUTs of a config pass through them; None loses the PUT."""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def dashboard_url(self) -> str:
        """The dashboard's."""
        return self.url + self.path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    body = b""
    """Of the request that is being answered."""
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement
    server: FakeDashboard

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def answer(self, status: int, body: object = None, kind: str = "application/json") -> bool:
        """Send a whole answer: text as it is, all else as JSON."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def do_GET(self) -> None:
        """Answer any method."""
        body = self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        self.server.sent.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.ingress and self.headers.get("authorization") != self.server.ingress:
            self.answer(302, "<html>Log in</html>", "text/html")
            return
        if self.server.ingress:
            del self.headers["authorization"]
        if self.server.disturbances and self.server.disturbances.popleft()(self):
            return
        sent = self.headers.get("x-ray-authorization") or self.headers.get("authorization")
        if self.server.token and sent != f"Bearer {self.server.token}":
            self.answer(401, "Unauthorized: Missing authentication token", "text/plain")
        elif path.startswith("/rayllm/v1/"):
            self._admin(path, body)
        elif path.startswith(self.server.path):
            self._dashboard(path.removeprefix(self.server.path), body)
        else:
            self.answer(404, f"{path} is not below the dashboard's path", "text/plain")

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  the library's names

    def _dashboard(self, path: str, body: bytes) -> None:
        server, name = self.server, path.rpartition("/")[2]
        if path == "/api/version":
            self.answer(200, {"ray_version": self.server.ray_version, "session_name": "session_1"})
        elif path == "/api/v0/nodes":
            self.answer(200, {"result": True, "data": {"result": {"result": server.nodes}}})
        elif path == "/nodes":
            self.answer(200, {"result": True, "data": {"summary": server.hardware}})
        elif path.startswith("/api/v0/logs/"):
            filename = parse_qs(self.path.partition("?")[2])["filename"][0]
            self.answer(200 if filename in server.logs else 500, server.logs.get(filename, "no such file"))
        elif path.startswith("/api/jobs/"):
            self.answer(*server.jobs.answer(self.command, path, body))
        elif path == "/api/serve/applications/":
            self._serve(body)
        elif path.startswith("/api/packages/gcs/") and self.command == "PUT":
            server.packages[name] = body
            self.answer(200)
        elif path.startswith("/api/packages/gcs/") and name in server.packages:
            self.answer(200)
        else:
            self.answer(404, f"{path} does not exist", "text/plain")

    def _serve(self, body: bytes) -> None:
        if self.command == "GET":
            self.answer(200, self.server.serve.details())
            return
        config = json.loads(body)
        change = self.server.before_puts.popleft() if self.server.before_puts else lambda config: config
        if (config := change(config)) is not None:
            self.server.serve.put(config)
        self.answer(200)

    def _admin(self, path: str, body: bytes) -> None:
        if path.startswith("/rayllm/v1/keys"):
            self._keys(path, json.loads(body or b"{}"))
        elif path.endswith("/usage"):
            self.answer(200, {"usage": self.server.usage})
        elif self.server.snapshot is None:
            self.answer(503)
        elif path.endswith("/state"):
            self.answer(200, self.server.snapshot)
        elif self.command == "DELETE":
            self.server.holder = None
            self.answer(200, {})
        else:
            request = json.loads(body)
            asker, dead = request["holder"], request["instead_of"]
            self.server.holder = asker if self.server.holder in {None, dead} else self.server.holder
            self.answer(200 if self.server.holder == asker else 409, {"holder": self.server.holder})

    def _keys(self, path: str, told: Json) -> None:
        keys, name = self.server.keys, path.removeprefix("/rayllm/v1/keys").strip("/").partition("/")[0]
        if self.command == "GET":
            self.answer(200, {"keys": list(keys.values())})
        elif self.command == "PUT":
            for file in told["keys"]:
                keys[file] = _key(file, {}) | {"from_file": True}
            self.answer(200, {"keys": len(keys)})
        elif name and name not in keys:
            self.answer(404, {"error": {"message": f"there is no key {name}"}})
        else:
            keys[name or told["name"]] = _key(name or told["name"], keys.get(name, told))
            keys[name or told["name"]]["revoked"] = 1 if self.command == "DELETE" else None
            self.answer(200, keys[name or told["name"]])


def _key(name: str, told: Json) -> Json:
    limits = ("models", "expires", "requests_per_minute", "concurrent_requests", "tokens_per_minute", "tokens_per_day")
    return {"name": name, "from_file": False, "created": 1, "revoked": None} | {key: told.get(key) for key in limits}
