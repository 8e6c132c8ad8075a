"""RayLLM's admin API, through the gateway: what replicas are doing, and the right to change a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from rayllm.backends import Cluster

LEASE_S = 30.0


class AdminApi:
    """A client of one deployment's admin API."""

    def __init__(self, cluster: Cluster) -> None:
        # Ray's own header: some platforms' ingress takes Authorization for itself.
        headers = {"x-ray-authorization": f"Bearer {cluster.token}"} if cluster.token else {}
        url = f"{cluster.gateway_url}/rayllm/v1"
        local = httpx.URL(url).host in {"127.0.0.1", "localhost", "::1"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=5.0, trust_env=not local)

    def state(self) -> dict[str, Any] | None:
        """The directory's snapshot of the deployment; None while the gateway does not answer."""
        try:
            answer = self._http.get("/state")
        except httpx.HTTPError:
            return None
        return dict(answer.json()) if answer.is_success else None

    def acquire(self, holder: str) -> str | None:
        """Take or renew the lease for `LEASE_S` seconds; who has it now, or None while the gateway does not answer."""
        try:
            answer = self._http.put("/lease", json={"holder": holder, "ttl_s": LEASE_S})
        except httpx.HTTPError:
            return None
        return str(answer.json()["holder"]) if answer.status_code in {200, 409} else None

    def release(self, holder: str) -> None:
        """Give the lease back; it runs out by itself where the gateway is gone."""
        try:
            self._http.delete("/lease", params={"holder": holder})
        except httpx.HTTPError:
            return

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()
