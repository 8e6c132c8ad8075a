"""RayLLM's admin API, through the gateway: what replicas are doing, and the right to change a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from rayllm.cluster.connection import connect

if TYPE_CHECKING:
    from rayllm.backends import Cluster

LEASE_S = 30.0
RELEASES = 3
"""How often the lease is given back before it is left to run out."""


class AdminApi:
    """A client of one deployment's admin API."""

    def __init__(self, cluster: Cluster) -> None:
        url = f"{cluster.gateway_url}/rayllm/v1"
        # Ray's own header: some platforms' ingress takes Authorization for itself.
        self._http = connect(url, cluster.token, header="x-ray-authorization", timeout_s=5.0)

    def state(self) -> dict[str, Any] | None:
        """The directory's snapshot of the deployment; None while the gateway does not answer."""
        return self._ask("GET", "/state", allow=frozenset({200}))

    def failed_at(self) -> dict[str, float]:
        """When each model failed last (seconds since 1970), as far as the directory knows."""
        failures = (self.state() or {}).get("failures", {})
        return {model: failure["at"] for model, failure in failures.items()}

    def acquire(self, holder: str, instead_of: str = "") -> str | None:
        """Take or renew the lease for `LEASE_S` seconds; who has it now, or None while the gateway does not answer.

        Args:
            holder: who asks, by a name that is not used again after `release`.
            instead_of: a holder that is known to be dead.
        """
        body = {"holder": holder, "ttl_s": LEASE_S, "instead_of": instead_of}
        answer = self._ask("PUT", "/lease", allow=frozenset({200, 409}), json=body)
        return str(answer["holder"]) if answer and "holder" in answer else None

    def release(self, holder: str) -> None:
        """Give the lease back; it runs out by itself where the gateway is gone."""
        for _ in range(RELEASES):
            try:
                if self._http.delete("/lease", params={"holder": holder}).is_success:
                    return
            except httpx.ConnectError:
                return
            except httpx.HTTPError:
                continue  # a gateway that is busy, or just being reloaded

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
