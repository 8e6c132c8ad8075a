"""The cluster's token, and the internal keys made from it."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path


def ray_token() -> str | None:
    """The token of this Ray cluster, found where Ray finds it; None where the cluster asks for none."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return Path(path).read_text(encoding="utf-8").strip()


def internal_key(deployment: str, model: str) -> str:
    """What the gateway shows to the replicas of a model when it comes through Serve's proxy.

    HMAC-SHA256 of the names under the cluster's token: the same on every node, kept nowhere, of no use elsewhere. A
    cluster without a token is open to all who reach it anyway; there the session's name stands in.
    """
    secret = ray_token() or _session_name()
    return hmac.new(secret.encode(), f"rayllm:{deployment}:{model}".encode(), hashlib.sha256).hexdigest()


def _session_name() -> str:
    import ray  # here alone, so that what the gateway serves can be told, and tested, without Ray

    return str(ray.get_runtime_context().get_session_name())
