"""Ask the Hugging Face hub for a repository's files: a script, run with a Python that has huggingface_hub.

The library's own cache begins a file anew in each process and does not compare it with the hub's checksum, so both are
done here, around the function that the library itself loads files with.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from rayllm.serving.weights.script_parts import FULL, Asked, ChecksumError, Remote, get_files, have, patiently, run, say

CHUNK = 1 << 18
"""Bytes that reach the disk at a time. The library's 10 MB are lost with a connection that breaks before."""
ASK_S = 30.0
"""Seconds that the hub may take for the list of files."""
_BLOCK = 1 << 20
_LIMIT, _BROKEN = 429, 500


class TooLargeError(Exception):
    """A file that the hub does not give over plain HTTP."""


def list_files(asked: Asked) -> None:
    """Say which commit the revision is, and what files it has: size and digest of each."""
    from huggingface_hub import HfApi

    api = HfApi(token=asked["token"], library_name="rayllm")

    def ask() -> Any:
        return api.model_info(asked["repo"], revision=asked["revision"], files_metadata=True, timeout=ASK_S)

    info = patiently(HUB, ask, asked["patience_s"], lambda: 0)
    files = {
        one.rfilename: {
            "size": one.lfs.size if one.lfs else one.size or 0,
            "digest": one.lfs.sha256 if one.lfs else one.blob_id,
            "lfs": one.lfs is not None,
        }
        for one in info.siblings or ()
    }
    say(listing={"commit": info.sha, "files": files})


def get_file(asked: Asked, file: Asked, blobs: Path) -> None:
    """Load one file and compare it with its digest."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    whole, part = blobs / file["digest"], blobs / f"{file['digest']}.part"
    if whole.exists():
        return
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK
    if file["size"] > constants.MAX_HTTP_DOWNLOAD_SIZE:
        raise TooLargeError(f"{file['path']}: {file['size']} bytes, at most {constants.MAX_HTTP_DOWNLOAD_SIZE}")
    url = hf_hub_url(asked["repo"], file["path"], revision=asked["commit"])
    # Redirected to another host, the client leaves the token behind. Compressed, a range would mean something else.
    headers = {**build_hf_headers(token=asked["token"], library_name="rayllm"), "Accept-Encoding": "identity"}

    def load() -> None:
        with part.open("r+b" if part.exists() else "w+b") as target:
            if target.seek(0, os.SEEK_END) > file["size"]:
                target.truncate(0)
                target.seek(0)
            if target.tell() < file["size"]:  # else it was cut off while its digest was taken
                http_get(url, target, resume_size=target.tell(), headers=headers, expected_size=file["size"])

    patiently(HUB, load, asked["patience_s"], lambda: have(part))
    found = digest_of(part, lfs=file["lfs"])
    if found != file["digest"]:
        part.unlink()
        raise ChecksumError(f"{file['path']}: {found}, the hub says {file['digest']}")
    part.replace(whole)


def digest_of(path: Path, *, lfs: bool) -> str:
    """A file's SHA-256, or the name that git gives its content."""
    digest = hashlib.sha256() if lfs else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def asked_to_wait(problem: BaseException) -> float:
    """Seconds after which the hub will answer again, as it says; 0 if it does not."""
    response = getattr(problem, "response", None)
    told = response.headers.get("retry-after", "") if response is not None else ""
    return float(told) if told.isdigit() else 0.0


def kind_of(problem: BaseException) -> str:
    """What went wrong, in one of the words that `hub_errors` knows."""
    from huggingface_hub import errors

    kinds = (
        (ChecksumError, "checksum"),
        (TooLargeError, "large"),
        (errors.OfflineModeIsEnabled, "offline"),
        (errors.GatedRepoError, "gated"),
        (errors.RevisionNotFoundError, "revision"),
        (errors.RemoteEntryNotFoundError, "file"),
        (errors.RepositoryNotFoundError, "repository"),
    )
    for error, kind in kinds:
        if isinstance(problem, error):
            return kind
    if isinstance(problem, errors.HfHubHTTPError):
        return kind_of_status(problem.response)
    if isinstance(problem, OSError) and problem.errno in FULL:
        return "disk"
    # The client's own errors: no name, no connection, a certificate, silence.
    return "unreachable" if type(problem).__module__.startswith(("httpx", "httpcore")) else "other"


def kind_of_status(response: Any) -> str:
    """The same of an answer that tells nothing more."""
    status = response.status_code
    if status == 401:  # noqa: PLR2004 - what the hub says of a wrong token; of a private or missing one, it says less
        wrong = "Invalid credentials" in response.headers.get("x-error-message", "")
        return "token" if wrong else "repository"
    if status == _LIMIT:
        return "limit"
    return "server" if status >= _BROKEN else "refused"


def branches(asked: Asked) -> list[str]:
    """The repository's branches and tags, as far as they can be listed."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi(token=asked["token"]).list_repo_refs(asked["repo"])
    except Exception:  # noqa: BLE001 - they only make an error better
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def facts(asked: Asked, problem: BaseException) -> dict[str, Any]:
    """What belongs to an error: the hub's address, whether a token was sent, and what revisions there are."""
    from huggingface_hub import constants, get_token

    found = {"branches": branches(asked)} if kind_of(problem) == "revision" else {}
    return {**found, "hub": constants.ENDPOINT, "token": bool(asked["token"] or get_token())}


HUB = Remote("the hub", kind_of, asked_to_wait, facts)


def main() -> None:
    """Do what stdin says."""
    run({"list": list_files, "get": lambda asked: get_files(asked, get_file)}, HUB)
