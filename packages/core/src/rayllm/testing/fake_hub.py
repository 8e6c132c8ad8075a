"""A stand-in for the Hugging Face hub over HTTP, with faults: what tests of the source `hf:` fetch from.

It speaks as much of the hub's protocol as reading needs: a repository's facts and refs, and files by revision, where
those in LFS are redirected to another host as the hub does it. It offers no Xet.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

LFS_BYTES = 10_000
"""Files from here on are in LFS."""
_REVISION = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/?]+)")
_REFS = re.compile(r"/api/models/([^/]+/[^/]+)/refs")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)")
_RANGE = re.compile(r"bytes=(\d+)-")
_BLOCK = 16_384


@dataclass
class FakeRepo:
    """A repository, and who may read it."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    """What its branches and tags are."""
    refs: tuple[str, ...] = ("main",)
    private: bool = False
    """Readable with a token of `readers` alone; others are not told that it is there."""
    gated: bool = False
    """Everybody sees the names of its files; their content is for `readers`."""
    readers: frozenset[str] = frozenset()
    """Tokens that may read it."""


@dataclass
class Faults:
    """What goes wrong, each until it is taken back or has happened often enough."""

    cut_after: list[int] = field(default_factory=list)
    """For each next file content in LFS: bytes after which the connection breaks; then all goes well."""
    away: bool = False
    """Every connection breaks before an answer."""
    away_after_cut: bool = False
    """From the first connection that `cut_after` breaks, it is `away`."""
    statuses: list[int] = field(default_factory=list)
    """For each next request: the status it is answered with; then all goes well."""
    retry_after: int = 0
    """Seconds that an answer 429 asks to wait."""
    block_s: float = 0
    """Seconds between blocks of 16 KiB."""
    damaged: bool = False
    """Content in LFS differs from its checksum."""
    gate: threading.Event | None = None
    """Content in LFS stops half-way until this is set."""


class FakeHub:
    """The hub's host and the one of its content, on free ports of loopback. Use it as a context manager."""

    def __init__(self, repos: Mapping[str, FakeRepo], tokens: frozenset[str] = frozenset()) -> None:
        self.repos = dict(repos)
        self.tokens = tokens
        """Those that it knows beside the readers of its repositories; any other one is refused."""
        self.faults = Faults()
        self.requests: list[tuple[str, dict[str, str]]] = []
        """`GET /path` and the headers (names in lower case) of every request so far, the content's host included."""
        self._servers = [_Server(("127.0.0.1", 0), _handler(self, kind)) for kind in (_Hub, _Content)]
        self.url, self.content_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def __enter__(self) -> FakeHub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.faults.gate:
            self.faults.gate.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def knows(self, token: str) -> bool:
        """Whether a token is somebody's."""
        return token in self.tokens or any(token in repo.readers for repo in self.repos.values())

    def ranges(self) -> list[int]:
        """The first byte of each answer that the content's host was asked for."""
        found = (_RANGE.match(headers.get("range", "bytes=0-")) for asked, headers in self.requests if "/lfs/" in asked)
        return [int(match[1]) for match in found if match]


class _Server(ThreadingHTTPServer):
    """Says nothing of connections that break: they are what is tested."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked is gone."""


class _Handler(BaseHTTPRequestHandler):
    """What both hosts share."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_GET(self) -> None:
        """Answer, unless a fault is due."""
        self.hub.requests.append(
            (f"{self.command} {self.path}", {key.lower(): self.headers[key] for key in self.headers})
        )
        if self.hub.faults.away:
            self.close_connection = True
            return
        statuses = self.hub.faults.statuses
        if statuses and (status := statuses.pop(0)) != 200:  # noqa: PLR2004
            wait = self.hub.faults.retry_after
            self.refuse(status, "", "made to fail", {"Retry-After": str(wait)} if wait else {})
            return
        self.answer()

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def answer(self) -> None:
        """Say what the path asks for."""
        raise NotImplementedError

    def say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """One whole answer."""
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """An error in the hub's form."""
        body = json.dumps({"error": message}).encode()
        told = {"X-Error-Code": code} if code else {}
        self.say(status, body, {**told, "X-Error-Message": message, **(headers or {})})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Keep quiet."""


class _Hub(_Handler):
    """The hub itself."""

    def answer(self) -> None:
        """Facts, refs or a file."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and not self.hub.knows(token):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        path = self.path.partition("?")[0]
        for form, act in ((_REVISION, self.facts), (_REFS, self.refs), (_FILE, self.file)):
            if match := form.fullmatch(path):
                self.of_repo(match[1], token, act, *map(unquote, match.groups()[1:]))
                return
        self.refuse(404, "", "Not Found")

    def of_repo(self, name: str, token: str, act: Any, *rest: str) -> None:
        """Act on a repository that this token may see, at a revision that it has."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and token not in repo.readers):
            if token:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, "", "Invalid username or password.")
        elif rest and rest[0] not in {*repo.refs, repo.commit}:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rest[0]}")
        else:
            act(name, repo, token, *rest)

    def facts(self, name: str, repo: FakeRepo, token: str, revision: str) -> None:
        """What `model_info` reads."""
        del token, revision
        siblings = [_sibling(path, content) for path, content in repo.files.items()]
        facts = {"id": name, "sha": repo.commit, "private": repo.private, "gated": repo.gated, "siblings": siblings}
        self.say(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def refs(self, name: str, repo: FakeRepo, token: str) -> None:
        """Branches; the fake has no tags."""
        del name, token
        branches = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": repo.commit} for ref in repo.refs]
        self.say(200, json.dumps({"branches": branches, "tags": [], "converts": []}).encode(), {})

    def file(self, name: str, repo: FakeRepo, token: str, revision: str, path: str) -> None:
        """A small file as it is, one in LFS by a redirect to the content's host."""
        del revision
        if repo.gated and token not in repo.readers:
            said = f"Access to model {name} is restricted."
            self.refuse(403 if token else 401, "GatedRepo", said)
            return
        content = repo.files.get(path)
        if content is None:
            self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repo.commit})
            return
        digest, headers = _digest(content), {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if len(content) < LFS_BYTES:
            self.say(200, content, {**headers, "ETag": f'"{digest}"'})
            return
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
        self.say(302, b"", {**headers, **linked, "Location": f"{self.hub.content_url}/lfs/{digest}"})


class _Content(_Handler):
    """Where content in LFS comes from: asks for no token, and takes ranges."""

    def answer(self) -> None:
        """The content, or the rest of it."""
        wanted = self.path.rpartition("/")[2]
        contents = [content for repo in self.hub.repos.values() for content in repo.files.values()]
        content = next((one for one in contents if _digest(one) == wanted), None)
        if content is None:
            self.refuse(404, "", "Not Found")
            return
        if self.hub.faults.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        match = _RANGE.match(self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.stream(content, start)

    def stream(self, content: bytes, start: int) -> None:
        """Block by block, as the faults will have it."""
        faults = self.hub.faults
        end = min(start + faults.cut_after.pop(0), len(content)) if faults.cut_after else len(content)
        for at in range(start, end, _BLOCK):
            if faults.gate and at >= len(content) // 2:
                faults.gate.wait()
            try:
                self.wfile.write(content[at : min(at + _BLOCK, end)])
            except OSError:  # whoever asked is gone
                self.close_connection = True
                return
            time.sleep(faults.block_s)
        self.close_connection = end < len(content)
        faults.away |= self.close_connection and faults.away_after_cut


def _handler(hub: FakeHub, kind: type[_Handler]) -> type[_Handler]:
    """The handler, knowing its hub."""
    return type(kind.__name__, (kind,), {"hub": hub})


def _digest(content: bytes) -> str:
    """SHA-256 in LFS, else the name that git gives it."""
    if len(content) >= LFS_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    facts: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": _digest(content)[:40]}
    if len(content) >= LFS_BYTES:
        facts["lfs"] = {"sha256": _digest(content), "size": len(content), "pointerSize": 134}
    return facts
