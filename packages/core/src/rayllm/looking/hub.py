"""A repository's files on the Hugging Face hub, by its HTTP API: the list, and parts of files by range requests.

The API is described at https://huggingface.co/docs/hub/api: `/api/models/REPO/revision/REVISION?blobs=true` lists the
files with their sizes, `/REPO/resolve/COMMIT/PATH` gives one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from rayllm.errors import RayllmError
from rayllm.looking.local import local_files
from rayllm.serving.weights.hub_script_run import TOKEN
from rayllm.serving.weights.hub_uri import HubUri, parse_hub
from rayllm.serving.weights.kept import Repository
from rayllm.sources import ModelFiles

HUB = "https://huggingface.co"
WAITS = httpx.Timeout(5.0, connect=3.0)
"""Seconds: whoever asks for a plan waits for it."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of one commit."""

    uri: HubUri
    commit: str
    sizes: Mapping[str, int]
    http: httpx.Client

    def read(self, name: str, start: int, length: int) -> bytes:
        """A part of a file; no more than that is loaded, though the server may not know ranges.

        Raises:
            RayllmError: the hub does not give it.
        """
        asked = f"/{self.uri.repo}/resolve/{self.commit}/{quote(name)}"
        headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        with _told(self.uri), self.http.stream("GET", asked, headers=headers) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            answer.raise_for_status()
            skipped = 0 if answer.status_code == httpx.codes.PARTIAL_CONTENT else start
            got = bytearray()
            for part in answer.iter_raw():
                got += part
                if len(got) >= skipped + length:
                    break
            return bytes(got[skipped : skipped + length])


@contextmanager
def hub_files(uri: str, cache: Path, secrets: Mapping[str, str]) -> Iterator[ModelFiles]:
    """The files of a repository: those of `cache` where it is whole, else the hub's.

    The hub is the one that `HF_ENDPOINT` names. The token is the secret `HF_TOKEN`, else this process's variable.

    Raises:
        RayllmError: the hub does not show them, or may not be asked (`HF_HUB_OFFLINE`).
    """
    wanted = parse_hub(uri)
    if place := Repository(cache / "hub" / wanted.repo.replace("/", "--")).complete(wanted):
        with local_files(place) as files:
            yield files
        return
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}:
        raise RayllmError("HF_HUB_OFFLINE forbids asking the hub")
    token = secrets.get(TOKEN) or os.environ.get(TOKEN, "").strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        # The HTTP library would name the value in its own error.
        raise RayllmError(f"the secret {TOKEN} holds a space, a line break or a letter beyond ASCII")
    with _client(token) as http:
        with _told(wanted):
            told = _listing(wanted, http)
        sizes = {one["rfilename"]: int(one.get("size") or 0) for one in told["siblings"]}
        if wanted.file:
            sizes = {name: size for name, size in sizes.items() if name == wanted.file}
        yield HubFiles(wanted, told["sha"], sizes, http)


def _client(token: str) -> httpx.Client:
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # Redirected to another host, the client leaves the token behind.
    return httpx.Client(base_url=endpoint, headers=headers, timeout=WAITS, follow_redirects=True)


def _listing(uri: HubUri, http: httpx.Client) -> dict[str, Any]:
    path = f"/api/models/{uri.repo}/revision/{quote(uri.revision, safe='')}"
    answer = http.get(path, params={"blobs": "true"}).raise_for_status()
    told = answer.json()
    if not isinstance(told, dict) or "sha" not in told or "siblings" not in told:
        raise RayllmError(f"{http.base_url} did not answer as the hub does")
    return told


@contextmanager
def _told(uri: HubUri) -> Iterator[None]:
    """What goes wrong on the wire, in one line without the token."""
    try:
        yield
    except httpx.HTTPStatusError as problem:
        said = f"the hub answered HTTP {problem.response.status_code} for {uri.repo}"
        raise RayllmError(said) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
        raise RayllmError(f"the hub can't be asked: {str(problem) or type(problem).__name__}") from None
