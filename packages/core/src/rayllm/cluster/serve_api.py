"""Ray's dashboard over HTTP: Serve's applications, packages, nodes and logs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from rayllm.backends import Cluster, Node
from rayllm.cluster.connection import TokenError, UnreachableError, connect, connect_async, token_header
from rayllm.cluster.hardware import Hardware, hardware_of
from rayllm.cluster.ingress import ingress_error
from rayllm.errors import ClusterError

if TYPE_CHECKING:
    from typing_extensions import Self

APPLICATIONS = "/api/serve/applications/"
_STREAM = "/api/v0/logs/stream"
_FOLLOW = {"interval": "0.5"}
_AILING = "ask again in a moment; if it stays so, dashboard.log on the head node tells why"
_NO_DASHBOARD = "is this the dashboard's own address, and not that of a page to log in before it?"


class ServeApi:
    """A client of one cluster. Use it as a context manager."""

    def __init__(
        self,
        dashboard_url: str,
        token: str | None = None,
        *,
        ingress: Mapping[str, str] = {},
        timeout_s: float = 30.0,
    ) -> None:
        self.url = dashboard_url.rstrip("/")
        self._token = token
        self._behind_ingress = bool(ingress)
        self._headers = {**ingress, **token_header(token)}
        self._http = connect(self.url, self._headers, timeout_s=timeout_s)

    @classmethod
    def of(cls, cluster: Cluster) -> Self:
        """The client of a cluster that a backend found."""
        return cls(cluster.dashboard_url, cluster.token, ingress=cluster.headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def version(self) -> dict[str, Any]:
        """Ray's version and session: `{"ray_version": "2.60.0", "session_name": …}`."""
        return self._get("/api/version")

    def details(self) -> dict[str, Any]:
        """Everything Serve reports (`ServeInstanceDetails` in Ray's documentation)."""
        return self._get(APPLICATIONS)

    def put_config(self, config: Mapping[str, Any]) -> None:
        """Replace Serve's whole config (`ServeDeploySchema`): an application that is missing from it is deleted."""
        self._ask("PUT", APPLICATIONS, json=dict(config), timeout=120.0)

    def has_package(self, name: str) -> bool:
        """True if the code package `gcs://name` is there."""
        return self._ask("GET", f"/api/packages/gcs/{name}", allow=(404,)).status_code == httpx.codes.OK

    def put_package(self, name: str, content: bytes) -> None:
        """Upload a code package, so that `gcs://name` can stand in a `runtime_env`."""
        self._ask("PUT", f"/api/packages/gcs/{name}", content=content)

    def nodes(self) -> list[Node]:
        """The cluster's nodes, dead ones included."""
        answer = self._get("/api/v0/nodes", params={"detail": "1", "limit": "1000"})
        return [
            Node(
                id=str(row["node_id"]),
                state=str(row["state"]).lower(),
                reason=str(row.get("state_message") or ""),
                address=str(row.get("node_ip") or ""),
                head=bool(row.get("is_head_node")),
                resources=dict(row.get("resources_total") or {}),
                name=str(row.get("node_name") or ""),
            )
            for row in answer["data"]["result"]["result"]
        ]

    def hardware(self) -> dict[str, Hardware]:
        """Memory and GPUs of the nodes that have reported them, by Ray's id."""
        summaries = self._get("/nodes", params={"view": "summary"})["data"]["summary"]
        return dict(filter(None, map(hardware_of, summaries)))

    def log(self, node: str, filename: str, *, lines: int) -> str:
        """The last `lines` lines of a file in Ray's log folder on a node (-1: all of it)."""
        params = {"node_id": node, "filename": filename, "lines": str(lines)}
        return self._ask("GET", "/api/v0/logs/file", params=params).text

    def follow_log(self, node: str, filename: str, *, lines: int) -> Iterator[str]:
        """As `log`, then what is added, until the caller stops."""
        params = {**_FOLLOW, "node_id": node, "filename": filename, "lines": str(lines)}
        with self._told(), self._http.stream("GET", _STREAM, params=params, timeout=None) as answer:
            if not answer.is_success:
                answer.read()  # before the stream is closed
            answer.raise_for_status()
            yield from answer.iter_text()

    async def follow_log_async(self, node: str, filename: str, *, lines: int) -> AsyncGenerator[str, None]:
        """As `follow_log`; cancelling ends it at once, which a thread that waits for a line could not."""
        params = {**_FOLLOW, "node_id": node, "filename": filename, "lines": str(lines)}
        with self._told():
            async with (
                connect_async(self.url, self._headers) as http,
                http.stream("GET", _STREAM, params=params) as answer,
            ):
                if not answer.is_success:
                    await answer.aread()
                answer.raise_for_status()
                async for text in answer.aiter_text():
                    yield text

    def _get(self, path: str, **request: Any) -> dict[str, Any]:
        answer = self._ask("GET", path, **request)
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            if self._behind_ingress and (problem := ingress_error(answer)):
                raise problem
            raise ClusterError(
                f"{self.url}{path} did not answer with JSON, as Ray's dashboard does",
                cause=answer.text[:200],
                cure=_NO_DASHBOARD,
                topic="cluster-unreachable",
            )
        return value

    def _ask(self, method: str, path: str, *, allow: tuple[int, ...] = (), **request: Any) -> httpx.Response:
        with self._told():
            answer = self._http.request(method, path, **request)
            if answer.status_code not in allow:
                answer.raise_for_status()
            return answer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what can go wrong on the wire into what a person can do about it."""
        try:
            yield
        except httpx.HTTPStatusError as problem:
            raise self._refusal(problem.response) from problem
        except httpx.HTTPError as problem:
            raise UnreachableError(
                f"Ray's dashboard does not answer at {self.url}",
                cause=str(problem) or type(problem).__name__,
                cure="is the cluster up, and is this the address of its dashboard (port 8265 by default)?",
                topic="cluster-unreachable",
            ) from problem

    def _refusal(self, answer: httpx.Response) -> ClusterError:
        """The error for an answer that is no success."""
        if self._behind_ingress and (problem := ingress_error(answer)):
            return problem
        status = answer.status_code
        if status in {401, 403}:
            refused = "refused the cluster's token" if self._token else "asks for a token, and there is none"
            return TokenError(
                f"{self.url} {refused} (HTTP {status})",
                cure="give the token of this cluster: `ray get-auth-token` prints it on the head node",
                topic="token",
            )
        kind = UnreachableError if answer.is_server_error else ClusterError
        said = f"{answer.request.url.copy_with(query=None)} answered HTTP {status}"
        page = "html" in answer.headers.get("content-type", "")
        if page or answer.is_redirect:
            said += " with a web page" if page else ""
            return kind(said, cure=_NO_DASHBOARD, topic="cluster-unreachable")
        return kind(said, cause=answer.text[-2000:].strip() or None, cure=_AILING if answer.is_server_error else None)
