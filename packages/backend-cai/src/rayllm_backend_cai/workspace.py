"""Which workspace is talked to, as whom: told outright, by the environment of a laptop or CI, or by a CAI session's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rayllm.errors import InputError

HOST, KEY, PROJECT = "CML_HOST", "CML_API_KEY", "CML_PROJECT"
"""Environment variables outside of CAI: the workspace's address, an API v2 key, a project's id."""
_NO_HOST = f"set {HOST} to the workspace's address, as it stands in the browser: https://ml-….example.com"
_NO_KEY = f"make one in the workspace (User Settings, API Keys, audience API) and set {KEY} to it"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a workspace is and with what key it is opened."""

    url: str
    """`https://HOST`, without a path."""
    key: str = field(repr=False)
    """An API v2 key with the audience `API`."""
    project: str = ""
    """A project's id, where one is given; inside of CAI the session's own."""
    ca: Path | None = None
    """File (PEM) of the authorities that may vouch for the workspace, instead of the usual ones."""

    @classmethod
    def find(
        cls,
        *,
        host: str = "",
        key: str = "",
        project: str = "",
        ca: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Workspace:
        """The workspace that was told, else the one of CML_HOST, else the one whose session this is.

        A key belongs to its workspace: that of a session is not shown to another host.

        Raises:
            InputError: no host, no key, or one that can't be right.
        """
        env = os.environ if env is None else env
        inside = _session_url(env)
        url = _clean(host or env.get(HOST, "")) or inside
        if not url:
            raise InputError("no Cloudera AI workspace is named", cure=_NO_HOST)
        own = url == inside
        key = key or env.get(KEY, "") or (env.get("CDSW_APIV2_KEY", "") if own else "")
        if not key:
            absent = "this session has no CDSW_APIV2_KEY: API v2 is off for it" if own else None
            raise InputError(f"there is no API key for {url}", cause=absent, cure=_NO_KEY)
        if not (key.isascii() and key.isprintable() and " " not in key):  # its value would stand in the library's error
            raise InputError(
                f"the API key for {url} holds a space, a line break or a letter beyond ASCII", cure="copy it once more"
            )
        project = project or env.get(PROJECT, "") or (env.get("CDSW_PROJECT_ID", "") if own else "")
        return cls(url=url, key=key, project=project, ca=ca)

    @property
    def domain(self) -> str:
        """Host, and port if there is one: applications are at `SUBDOMAIN.DOMAIN`."""
        return urlsplit(self.url).netloc

    def application_url(self, subdomain: str) -> str:
        """Where an application is reached: the platform's replies do not say it."""
        return f"{urlsplit(self.url).scheme}://{subdomain}.{self.domain}"


def _session_url(env: Mapping[str, str]) -> str:
    """The address of the workspace that this process runs in; empty outside of CAI."""
    project, domain = urlsplit(env.get("CDSW_PROJECT_URL", "")), env.get("CDSW_DOMAIN", "")
    if not domain:
        return ""
    return f"{project.scheme or 'https'}://{domain}"  # the scheme stands in no other variable


def _clean(host: str) -> str:
    """`https://HOST` of an address as people copy it.

    Raises:
        InputError: it is no address.
    """
    if not host:
        return ""
    try:
        parts = urlsplit(host if "://" in host else f"https://{host}")
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None
    except ValueError:
        right = False
    if not right:  # the address is not repeated: a password may stand in it
        raise InputError("the workspace's address can't be read", cure=_NO_HOST)
    return f"{parts.scheme}://{parts.netloc}"
