"""RayLLM's admin API, through the gateway: what replicas are doing, and the right to change a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from rayllm.cluster.connection import TokenError, UnreachableError, connect, token_header
from rayllm.cluster.ingress import ingress_error
from rayllm.errors import ClusterError, InputError

if TYPE_CHECKING:
    from rayllm.backends import Cluster

LEASE_S = 30.0
CHANGE_S = 30.0
"""A change is answered when HAProxy goes by it."""
_ASKED_WRONG = frozenset({400, 404, 409})
RELEASES = 3
"""How often the lease is given back before it is left to run out."""


class AdminApi:
    """A client of one deployment's admin API."""

    def __init__(self, cluster: Cluster) -> None:
        url = f"{cluster.gateway_url}/rayllm/v1"
        headers = {**cluster.headers, **token_header(cluster.token)}
        self._behind_ingress = bool(cluster.headers)
        self._http = connect(url, headers, timeout_s=5.0, certificate=cluster.certificate)

    def state(self) -> dict[str, Any] | None:
        """The directory's snapshot of the deployment; None while the gateway does not answer."""
        return self._ask("GET", "/state", allow=frozenset({200}))

    def failed_at(self) -> dict[str, float]:
        """When each model and each adapter (`MODEL/ADAPTER`) failed last, in seconds since 1970, as far as is known."""
        state = self.state() or {}
        found = {model: failure["at"] for model, failure in state.get("failures", {}).items()}
        for replica in state.get("replicas", []):
            for name, told in replica.get("adapters", {}).items():
                if told["state"] == "failed":
                    key = f"{replica['model']}/{name}"
                    found[key] = max(told["at"], found.get(key, 0.0))
        return found

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

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Ask for something that has to be answered; `request` as httpx takes it.

        Raises:
            UnreachableError: the gateway does not answer, or not now.
            ClusterError: the platform's ingress answers instead.
            TokenError: the cluster's token is another one.
            InputError: the gateway finds something wrong with what was asked, in its words.
            ClusterError: it can't do it.
        """
        try:
            answer = self._http.request(method, path, timeout=CHANGE_S, **request)
            if self._behind_ingress and (lost := ingress_error(answer)):
                raise lost
            value = answer.json()
        except (httpx.HTTPError, ValueError) as problem:
            cure = "what is with it: rayllm status gateway"
            raise UnreachableError("the gateway does not answer", cause=str(problem), cure=cure) from problem
        if not isinstance(value, dict):
            raise ClusterError("what answers at the gateway's address is no gateway of RayLLM")
        if answer.is_success:
            return value
        said = str((value.get("error") or {}).get("message") or answer.text[:500])
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise TokenError(said, topic="token")
        if answer.status_code in _ASKED_WRONG:
            raise InputError(said)
        raise ClusterError(f"the gateway could not do it (HTTP {answer.status_code})", cause=said)

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
