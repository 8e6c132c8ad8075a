"""What the scripts share that fetch files from elsewhere: `hub_script`, `stores.script`. The standard library alone.

What to do comes as one line of JSON on stdin, and so do secrets: they stand in no argument list. Stdin stays open while
somebody wants the files; once it closes, the script ends and what it has got stays. Every line of stdout is JSON:
`listing`, `progress` (bytes), `note` or, as the last one, `error`. What follows on stdin is more to do, for whoever
takes it from `LATER`.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AT_ONCE = 4
"""Files that are loaded at a time."""
LIMIT_S = 300.0
"""Seconds more that are waited where the other side answers, and asks to wait."""
PROGRESS_S = 1.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_speaking = threading.Lock()

Asked = dict[str, Any]
"""What stdin says: `do`, `patience_s` and what belongs to it."""
LATER: queue.SimpleQueue[Asked] = queue.SimpleQueue()
"""What else stdin said."""


class ChecksumError(Exception):
    """A file that came whole and is not what the other side says it is."""


@dataclass(frozen=True, slots=True)
class Remote:
    """The other side, as far as its errors differ."""

    name: str
    """`the hub`."""
    kind_of: Callable[[BaseException], str]
    """What went wrong, in one of the words that the parent knows; `unreachable`, `limit` and `server` may pass."""
    asked_to_wait: Callable[[BaseException], float]
    """Seconds after which it will answer again, as it says; 0 if it does not."""
    facts: Callable[[Asked, BaseException], dict[str, Any]]
    """What the parent needs beside the kind of an error and its words."""


def patiently(remote: Remote, act: Callable[[], Any], patience_s: float, got: Callable[[], int]) -> Any:
    """Do it again while the other side is out of reach or asks to wait, until nothing has come for `patience_s`."""
    end, before, wait = time.monotonic() + patience_s, got(), 1.0
    while True:
        try:
            return act()
        except Exception as problem:
            if got() > before:
                end, before, wait = time.monotonic() + patience_s, got(), 1.0
            pause = remote.asked_to_wait(problem) or wait
            kind = remote.kind_of(problem)
            over = time.monotonic() + pause - end
            if kind not in {"unreachable", "limit", "server"} or over > (LIMIT_S if kind == "limit" else 0):
                raise
            say(note=f"{remote.name} can't be read, trying again: {first_line(problem)}")
            time.sleep(pause)
            wait = min(2 * wait, 10.0)


def first_line(problem: BaseException) -> str:
    """What the error says, without the empty line that some begin with."""
    return next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)


def get_files(asked: Asked, get_file: Callable[[Asked, Asked, Path], None]) -> None:
    """Load each file into `blobs/DIGEST`, going on with what is there of it in `blobs/DIGEST.part`.

    Raises:
        Exception: what the first file met that can't be loaded; main ends the process then, and so the other loads.
    """
    blobs = Path(asked["folder"])
    blobs.mkdir(parents=True, exist_ok=True)
    # Files with the same content are one blob: two that load it would take its part from each other.
    files = list({file["digest"]: file for file in asked["files"]}.values())
    total = sum(file["size"] for file in files)
    threading.Thread(target=_tell_progress, args=(blobs, files, total), daemon=True).start()
    pool = ThreadPoolExecutor(AT_ONCE)
    for done in as_completed([pool.submit(get_file, asked, file, blobs) for file in files]):
        done.result()
    say(progress={"have": total, "total": total})


def _tell_progress(blobs: Path, files: list[Asked], total: int) -> None:
    """Say again and again how many bytes are there."""
    while True:
        say(progress={"have": sum(_bytes_of(blobs, file) for file in files), "total": total})
        time.sleep(PROGRESS_S)


def _bytes_of(blobs: Path, file: Asked) -> int:
    """What is there of a file."""
    if (blobs / file["digest"]).exists():
        return int(file["size"])
    return have(blobs / f"{file['digest']}.part")


def have(part: Path) -> int:
    """Bytes of a file that may not be there."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def say(**line: Any) -> None:
    """One line for the parent."""
    with _speaking:
        print(json.dumps(line), flush=True)  # noqa: T201 - what the parent reads


def run(jobs: Mapping[str, Callable[[Asked], None]], remote: Remote) -> None:
    """Do what stdin says, and end."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        jobs[asked["do"]](asked)
    except Exception as problem:  # noqa: BLE001 - the parent tells it to a person
        say(error=told(remote, asked, problem))
        os._exit(1)
    os._exit(0)  # a thread still reads stdin


def told(remote: Remote, asked: Asked, problem: BaseException) -> dict[str, Any]:
    """What the parent has to know of an error."""
    words = str(problem).strip() or type(problem).__name__
    return {"kind": remote.kind_of(problem), "words": words, **remote.facts(asked, problem)}


def _end_with_parent() -> None:
    """Wait until nobody wants the files any more."""
    for line in sys.stdin:
        LATER.put(json.loads(line))
    os._exit(1)
