"""RayLLM's admin API, through the gateway: what replicas are doing, and the right to change a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from rayllm.cluster.connection import connect

if TYPE_CHECKING:
    from rayllm.backends import Cluster

LEASE_S = 30.0


class AdminApi:
    """A client of one deployment's admin API."""

    def __init__(self, cluster: Cluster) -> None:
        url = f"{cluster.gateway_url}/rayllm/v1"
        # Ray's own header: some platforms' ingress takes Authorization for itself.
        self._http = connect(url, cluster.token, header="x-ray-authorization", timeout_s=5.0)

    def state(self) -> dict[str, Any] | None:
        """The directory's snapshot of the deployment; None while the gateway does not answer."""
        return self._ask("GET", "/state", allow=frozenset({200}))

    def acquire(self, holder: str) -> str | None:
        """Take or renew the lease for `LEASE_S` seconds; who has it now, or None while the gateway does not answer."""
        body = {"holder": holder, "ttl_s": LEASE_S}
        answer = self._ask("PUT", "/lease", allow=frozenset({200, 409}), json=body)
        return str(answer["holder"]) if answer and "holder" in answer else None

    def release(self, holder: str) -> None:
        """Give the lease back; it runs out by itself where the gateway is gone."""
        try:
            self._http.delete("/lease", params={"holder": holder})
        except httpx.HTTPError:
            return

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()

    def _ask(self, method: str, path: str, *, allow: frozenset[int], **request: Any) -> dict[str, Any] | None:
        """A JSON object; None for whatever else answers there, since that is not the gateway, or not yet."""
        try:
            answer = self._http.request(method, path, **request)
            value = answer.json() if answer.status_code in allow else None
        except (httpx.HTTPError, ValueError):
            return None
        return value if isinstance(value, dict) else None
