"""What both HTTP clients of a cluster share: opening the connection, and the errors that have names of their own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from rayllm.errors import ClusterError


class UnreachableError(ClusterError):
    """Nobody answers, or not now: the same question may be answered in a moment."""


class TokenError(ClusterError):
    """The cluster wants another token, or one at all."""


def token_header(token: str | None) -> dict[str, str]:
    """What shows Ray's token to Ray, and to the gateway's admin API.

    Ray's own header, not `Authorization`: some platforms' ingress takes that for itself.

    Raises:
        ClusterError: `token` can't stand in a header; it does not stand in the error's text.
    """
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        # The HTTP library would name the value in its own error.
        raise ClusterError(
            "the cluster's token holds a space, a line break or a letter beyond ASCII",
            cure="copy it once more",
            topic="token",
        )
    return {"x-ray-authorization": f"Bearer {token}"} if token else {}


def connect(url: str, headers: Mapping[str, str], *, timeout_s: float, certificate: str | None = None) -> httpx.Client:
    """A client for `url` and what is below it; no single wait takes longer than `timeout_s` seconds.

    With a `certificate` (PEM) the server is the one that has exactly this, whatever name stands in it.

    Raises:
        ClusterError: `url` is no address, or a header's value can't stand there. Neither stands in the error's text.
    """
    return httpx.Client(**_settings(url, headers, certificate), timeout=timeout_s)


def connect_async(url: str, headers: Mapping[str, str], *, certificate: str | None = None) -> httpx.AsyncClient:
    """As `connect`, for a stream: it waits as long as it takes."""
    return httpx.AsyncClient(**_settings(url, headers, certificate), timeout=None)  # noqa: S113


def _settings(url: str, headers: Mapping[str, str], certificate: str | None) -> dict[str, Any]:
    """What every client is made with.

    Raises:
        ClusterError: `url` is no address, or a header's value can't stand there. Neither stands in the error's text.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:  # its text may repeat a part of a password
        raise ClusterError("an address of the cluster can't be read", cure="http://HOST:PORT") from None
    if parsed.userinfo:
        raise ClusterError(
            f"the address of {parsed.host} has a user's name in it",
            cure="leave it out: a cluster is opened by its token",
        )
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ClusterError(
                f"what the platform's ingress is to see as {name} holds a line break or a letter beyond ASCII",
                cure="copy the key once more",
                topic="ingress",
            )
    # trust_env=False on loopback: a proxy of the environment can't reach this machine's own addresses.
    local = parsed.host in {"127.0.0.1", "localhost", "::1"}
    # Reading every certificate authority takes 20 ms; without TLS none is needed (and with none, none is trusted).
    verify = trusting(certificate) if certificate or (local and parsed.scheme == "http") else True
    return {"base_url": url, "headers": dict(headers), "trust_env": not local, "verify": verify}


def trusting(certificate: str | None) -> ssl.SSLContext:
    """What trusts this certificate (PEM) alone: no authority and no name is needed for what is known itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate)
    return context
