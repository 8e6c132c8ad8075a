"""Ask the Hugging Face hub for a repository's files: a script, run with a Python that has huggingface_hub.

What to do comes as one line of JSON on stdin, and so does the token: it stands in no argument list. Stdin stays open
while somebody wants the files; once it closes, the script ends and what it has got stays. Every line of stdout is JSON:
`listing`, `progress` (bytes), `note` or, as the last one, `error`.

The library's own cache begins a file anew in each process and does not compare it with the hub's checksum, so both are
done here, around the function that the library itself loads files with.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

AT_ONCE = 4
"""Files that are loaded at a time."""
CHUNK = 1 << 18
"""Bytes that reach the disk at a time. The library's 10 MB are lost with a connection that breaks before."""
ASK_S = 30.0
"""Seconds that the hub may take for the list of files."""
LIMIT_S = 300.0
"""Seconds more that are waited where the hub answers, and asks to wait."""
PROGRESS_S = 1.0
_BLOCK = 1 << 20
_LIMIT, _BROKEN = 429, 500
_speaking = threading.Lock()


class ChecksumError(Exception):
    """A file that came whole and is not what the hub says it is."""


class TooLargeError(Exception):
    """A file that the hub does not give over plain HTTP."""


def list_files(asked: dict[str, Any]) -> None:
    """Say which commit the revision is, and what files it has: size and digest of each."""
    from huggingface_hub import HfApi

    api = HfApi(token=asked["token"], library_name="rayllm")

    def ask() -> Any:
        return api.model_info(asked["repo"], revision=asked["revision"], files_metadata=True, timeout=ASK_S)

    info = patiently(ask, asked["patience_s"], lambda: 0)
    files = {
        one.rfilename: {
            "size": one.lfs.size if one.lfs else one.size or 0,
            "digest": one.lfs.sha256 if one.lfs else one.blob_id,
            "lfs": one.lfs is not None,
        }
        for one in info.siblings or ()
    }
    say(listing={"commit": info.sha, "files": files})


def get_files(asked: dict[str, Any]) -> None:
    """Load each file into `blobs/DIGEST`, going on with what is there of it in `blobs/DIGEST.part`."""
    blobs = Path(asked["folder"])
    blobs.mkdir(parents=True, exist_ok=True)
    # Files with the same content are one blob: two that load it would take its part from each other.
    files = list({file["digest"]: file for file in asked["files"]}.values())
    total = sum(file["size"] for file in files)
    threading.Thread(target=tell_progress, args=(blobs, files, total), daemon=True).start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in as_completed([pool.submit(get_file, asked, file, blobs) for file in files]):
            if problem := done.exception():
                fail(asked, problem)  # ends the process, and with it the other loads
    say(progress={"have": total, "total": total})


def get_file(asked: dict[str, Any], file: dict[str, Any], blobs: Path) -> None:
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

    patiently(load, asked["patience_s"], lambda: part.stat().st_size if part.exists() else 0)
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


def patiently(act: Callable[[], Any], patience_s: float, got: Callable[[], int]) -> Any:
    """Do it again while the hub is out of reach or asks to wait, until nothing has come for `patience_s` seconds."""
    end, before, wait = time.monotonic() + patience_s, got(), 1.0
    while True:
        try:
            return act()
        except Exception as problem:
            if got() > before:
                end, before, wait = time.monotonic() + patience_s, got(), 1.0
            pause = asked_to_wait(problem) or wait
            kind = kind_of(problem)
            over = time.monotonic() + pause - end
            if kind not in {"unreachable", "limit", "server"} or over > (LIMIT_S if kind == "limit" else 0):
                raise
            say(note=f"the hub can't be read, trying again: {first_line(problem)}")
            time.sleep(pause)
            wait = min(2 * wait, 10.0)


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
    if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
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


def first_line(problem: BaseException) -> str:
    """What the error says, without the empty line that the library begins with."""
    return next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)


def branches(asked: dict[str, Any]) -> list[str]:
    """The repository's branches and tags, as far as they can be listed."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi(token=asked["token"]).list_repo_refs(asked["repo"])
    except Exception:  # noqa: BLE001 - they only make an error better
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


def tell_progress(blobs: Path, files: list[dict[str, Any]], total: int) -> None:
    """Say again and again how many bytes are there."""
    while True:
        say(progress={"have": sum(bytes_of(blobs, file) for file in files), "total": total})
        time.sleep(PROGRESS_S)


def bytes_of(blobs: Path, file: dict[str, Any]) -> int:
    """What is there of a file."""
    if (blobs / file["digest"]).exists():
        return int(file["size"])
    try:
        return (blobs / f"{file['digest']}.part").stat().st_size
    except FileNotFoundError:
        return 0


def fail(asked: dict[str, Any], problem: BaseException) -> None:
    """Say why, and end."""
    from huggingface_hub import constants, get_token

    kind = kind_of(problem)
    facts: dict[str, Any] = {
        "kind": kind,
        "words": str(problem).strip() or type(problem).__name__,
        "hub": constants.ENDPOINT,
    }
    if kind == "revision":
        facts["branches"] = branches(asked)
    say(error={**facts, "token": bool(asked["token"] or get_token())})
    os._exit(1)


def say(**line: Any) -> None:
    """One line for the parent."""
    with _speaking:
        print(json.dumps(line), flush=True)  # noqa: T201 - what the parent reads


def end_with_parent() -> None:
    """Wait until nobody wants the files any more."""
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Do what stdin says."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        (list_files if asked["do"] == "list" else get_files)(asked)
    except Exception as problem:  # noqa: BLE001 - the parent tells it to a person
        fail(asked, problem)
    os._exit(0)  # a thread still reads stdin


if __name__ == "__main__":
    # The folder of this script: its modules would hide installed ones of the same name.
    del sys.path[0]
    main()
