"""What stands before a gateway on a platform: where that lets it listen, and what of Ray it passes on.

Both are told in the environment of Ray's processes on the head node, from which the gateway's actor has its own:
`RAYLLM_GATEWAY_LISTEN=HOST:PORT` instead of the file's `gateway.host` and `gateway.port`, and
`RAYLLM_DASHBOARD=HOST:PORT`, Ray's dashboard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rayllm.errors import InputError
from rayllm.serving.haproxy.answers import OpenAiError, retry_later
from rayllm.serving.haproxy.text import address, check_host, check_port, section

LISTEN = "RAYLLM_GATEWAY_LISTEN"
DASHBOARD = "RAYLLM_DASHBOARD"
TOKEN_HEADER = "x-ray-authorization"  # noqa: S105  no token
"""Carries Ray's token, `Bearer TOKEN`, where `authorization` is the platform's own."""
PREFIX = "/rayllm/ray"
"""Below it are the paths of Ray's dashboard that an operator asks for."""
_BACKEND = "ray-dashboard"
_PATHS = (
    "/api/version",
    "/api/serve/applications/",
    "/api/v0/nodes",
    "/api/v0/logs/file",
    "/api/v0/logs/stream",
    "/nodes",
)
_BELOW = ("/api/packages/gcs/", "/api/jobs/")
_LOCAL_HEADERS = ("authorization", "x-api-key", "cookie")
"""Meant for who stands before: Ray would read them as its token, or as nothing it needs to know."""


@dataclass(frozen=True, slots=True)
class Ingress:
    """What the platform told; None where it told nothing. Each is a host and a port."""

    listen: tuple[str, int] | None = None
    dashboard: tuple[str, int] | None = None

    @classmethod
    def told(cls, environ: Mapping[str, str]) -> Ingress:
        """Read the environment.

        Raises:
            InputError: a variable is no `HOST:PORT`.
        """
        return cls(_place(environ, LISTEN), _place(environ, DASHBOARD))


NOTHING_TOLD = Ingress()


def route() -> str:
    """Where a request for Ray goes, the ACL `admin` being true for all below `/rayllm/`; it stands after all rules.

    All else about it is its backend's affair: what goes to a model is asked no more than that.
    """
    return f"use_backend {_BACKEND} if admin {{ path_beg {PREFIX}/ }}"


def backend(dashboard: tuple[str, int]) -> str:
    """The way to Ray's dashboard. Nothing waits for a body: packages of code and followed logs pass as they come."""
    absent = retry_later("Ray's dashboard does not answer")

    def lines() -> Iterator[str]:
        yield from guard()
        for header in _LOCAL_HEADERS:
            yield f"http-request del-header {header}"
        yield f"http-error {absent.answer()}"
        yield "http-reuse never"  # Ray may close a connection that idles in the very moment in which it is used
        yield "option httpclose"
        yield f"server dashboard {address(*dashboard)}"

    return section(f"backend {_BACKEND}", lines())


def guard() -> Iterator[str]:
    """Rules that let through to Ray's dashboard what an operator asks, its path without the prefix.

    Ray checks the token itself, but leaves paths open: who shows none gets nowhere.
    """
    missing = OpenAiError(401, f"Ray's token is needed: {TOKEN_HEADER}: Bearer TOKEN", "invalid_token")
    nothing = OpenAiError(404, "there is no %[method] %[path,bytes(0,200),json(utf8ps)] here", "not_found")
    yield f"http-request return {missing.answer()} unless {{ req.fhdr({TOKEN_HEADER}) -m len gt 0 }}"
    yield f"acl known path -m str {' '.join(PREFIX + path for path in _PATHS)}"
    yield f"acl known path -m beg {' '.join(PREFIX + path for path in _BELOW)}"
    # Below a path anything may follow, but not what Ray could take for a way out of it.
    yield "acl wayward path -m sub /. // % \\\\ ;"
    yield f"http-request return {nothing.answer()} if !known || wayward"
    yield rf"http-request replace-path ^{PREFIX}(/.*)$ \1"


def _place(environ: Mapping[str, str], variable: str) -> tuple[str, int] | None:
    told = environ.get(variable)
    if not told:
        return None
    host, _, port = told.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        check_host(host)
        check_port(int(port))
    except ValueError as error:
        raise InputError(
            f"{variable}={told} is no address to listen on or to ask",
            cause=str(error),
            cure=f"set it to HOST:PORT, as in {variable}=127.0.0.1:8100, or not at all",
            topic="gateway",
        ) from error
    return host, int(port)
