"""The backend `ray`: an existing Ray cluster, reached at its dashboard's address."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import field_validator

from rayllm.backends import Backend, Cluster, ClusterBackend, ClusterSpec, Progress
from rayllm.engines import Options
from rayllm.errors import InputError


class RayOptions(Options):
    """`cluster.options` of the backend `ray`."""

    address: str = "http://127.0.0.1:8265"
    """Ray's dashboard."""
    token: str | None = None
    """Ray's token, as `${env:NAME}`; else RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, as Ray looks."""
    allow_open: bool = False
    """Take a cluster that asks for no token: whoever reaches it can run code on it."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or "@" in value or any(map(str.isspace, value)):
            raise ValueError("http://HOST:PORT expected, without a user's name")
        return value.rstrip("/")


class RayBackend(ClusterBackend):
    """Takes a cluster as it is; creates and removes nothing."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Check that the cluster answers, takes the token, runs a Ray that will do, and is closed to strangers."""
        progress("cluster", f"asking {self._options.address}")
        cluster = self._cluster(spec.name)
        version = self._require_supported(cluster)
        if not self._options.allow_open and self._is_open():
            raise InputError(
                f"the Ray cluster at {self._options.address} asks for no token: whoever reaches it runs code on it",
                cure="start it with RAY_AUTH_MODE=token, or accept it with cluster.options.allow_open: true",
                topic="open-cluster",
            )
        if spec.secrets:
            names = ", ".join(sorted(spec.secrets))
            progress("secrets", f"{names}: this backend lays no files, put each on the nodes by hand", done=True)
        progress("cluster", f"Ray {version} at {self._options.address}", done=True)
        return cluster

    def find(self, name: str) -> Cluster | None:
        """The cluster, if its dashboard answers."""
        cluster = self._cluster(name)
        self._require_supported(cluster)
        return cluster

    def destroy(self, name: str, progress: Progress) -> None:
        """Leave the cluster as it is: it was there before."""
        progress("cluster", f"{self._options.address} stays; {name} was removed from it", done=True)

    def _cluster(self, name: str) -> Cluster:
        return Cluster(name=name, dashboard_url=self._options.address, gateway_url="", token=self._token())

    def _require_supported(self, cluster: Cluster) -> str:
        """The version of its Ray."""
        from rayllm.cluster.ray_version import require_supported
        from rayllm.cluster.serve_api import ServeApi

        with ServeApi.of(cluster) as api:
            version = str(api.version().get("ray_version") or "of an unknown version")
        require_supported(version, self._options.address)
        return version

    def _token(self) -> str | None:
        if token := self._options.token or os.environ.get("RAY_AUTH_TOKEN"):
            return token.strip()
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
        try:
            return path.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as problem:
            raise InputError(
                f"Ray's token can't be read from {path}",
                cause=problem.strerror if isinstance(problem, OSError) else "it is no text",
                cure="RAY_AUTH_TOKEN_PATH names another file, RAY_AUTH_TOKEN is the token itself",
                topic="token",
            ) from None

    def _is_open(self) -> bool:
        """True if the cluster answers somebody who has no token; whatever else goes wrong is no proof of a lock."""
        from rayllm.cluster.connection import TokenError
        from rayllm.cluster.serve_api import ServeApi

        try:
            with ServeApi(self._options.address) as stranger:
                stranger.version()
        except TokenError:
            return False
        return True


BACKEND = Backend(
    name="ray",
    summary="an existing Ray cluster, at its dashboard's address",
    options=RayOptions,
    open=RayBackend,
)
