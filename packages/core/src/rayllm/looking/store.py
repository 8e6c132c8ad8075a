"""A model's files in an object store: the list, and parts of files, asked of the script that nodes fetch them with.

A process of its own: the stores' libraries take credentials from the environment, which is everybody's in this one.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rayllm.errors import RayllmError
from rayllm.looking.local import local_files
from rayllm.serving.prepare import interpreters
from rayllm.serving.weights.hub_files import choose
from rayllm.serving.weights.kept import Repository
from rayllm.serving.weights.script_run import FetchError, start
from rayllm.serving.weights.stores.errors import explain
from rayllm.serving.weights.stores.settings import LIBRARIES, QUIET, SECRETS
from rayllm.serving.weights.stores.source import MODULE, asked_of, folder_of
from rayllm.serving.weights.stores.uri import StoreUri, parse_store
from rayllm.sources import ModelFiles

WAIT_S = 5.0
"""Seconds for all of it: whoever asks for a plan waits for it."""
_SIZES = 0
"""Number of the first answer."""
_Answer = dict[str, Any]


@contextmanager
def store_files(uri: str, cache: Path, secrets: Mapping[str, str]) -> Iterator[ModelFiles]:
    """The files of a model: those of `cache` where it is whole, else the store's.

    The store is asked with the secrets that are named as its variables, else with what its library finds here.

    Raises:
        RayllmError: its library is not installed here, or the store does not show them.
    """
    wanted = parse_store(uri)
    if place := Repository(folder_of(wanted, cache)).complete(wanted):
        with local_files(place) as files:
            yield files
        return
    if not all(map(interpreters.satisfied_here, LIBRARIES[wanted.scheme])):
        raise RayllmError(f"install rayllm-core[{wanted.scheme}] here to have plan look at {wanted}")
    with (
        tempfile.TemporaryDirectory() as own,
        tempfile.TemporaryFile("w+", errors="replace") as stray,
        start(sys.executable, MODULE, QUIET.get(wanted.scheme, {}), stray) as process,
    ):
        talk = _Talk(process, stray)
        try:
            asked = asked_of(wanted, _given(wanted.scheme, secrets, Path(own)))
            yield StoreFiles(wanted, talk, {**asked, "do": "look", "patience_s": 0})
        finally:
            talk.end()


class StoreFiles:
    """The files of a place in a store."""

    def __init__(self, uri: StoreUri, talk: _Talk, asked: _Answer) -> None:
        self._uri = uri
        self._talk = talk
        self._end = time.monotonic() + WAIT_S
        found: dict[str, int] = self._answer(talk.begin(asked))["sizes"]
        self.sizes: Mapping[str, int] = (
            {name: found[name] for name in choose(uri.repo, found, uri.file, uri.scheme)} if uri.file else found
        )

    def read(self, name: str, start: int, length: int) -> bytes:
        """A part of a file.

        Raises:
            RayllmError: the store does not give it, or not in time.
        """
        end = min(start + length, self.sizes[name])
        if start >= end:
            return b""
        return base64.b64decode(self._answer(self._talk.ask(name=name, start=start, end=end))["part"])

    def _answer(self, coming: futures.Future[_Answer]) -> _Answer:
        try:
            return coming.result(max(0.0, self._end - time.monotonic()))
        except futures.TimeoutError:
            raise RayllmError(f"the store did not show {self._uri} within {WAIT_S:g} s") from None
        except FetchError as problem:
            # A plan has one line for it.
            problem.words = problem.words.strip().partition("\n")[0]
            raise explain(self._uri, problem, "this machine") from None


class _Talk:
    """Questions to the script and its answers, in any order."""

    def __init__(self, process: subprocess.Popen[str], stray: IO[str]) -> None:
        self._process = process
        self._stray = stray
        self._lock = threading.Lock()
        self._due: dict[int, futures.Future[_Answer]] = {}
        self._asked = _SIZES
        self._over: FetchError | None = None
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def begin(self, asked: _Answer) -> futures.Future[_Answer]:
        """Say what is looked at; the answer is what files there are."""
        return self._send(_SIZES, asked)

    def ask(self, **asked: Any) -> futures.Future[_Answer]:
        """Ask for a part of a file."""
        with self._lock:
            self._asked += 1
            number = self._asked
        return self._send(number, {**asked, "answer": number})

    def end(self) -> None:
        """Ask nothing more."""
        self._process.kill()
        self._hearing.join()

    def _send(self, number: int, asked: _Answer) -> futures.Future[_Answer]:
        coming: futures.Future[_Answer] = futures.Future()
        with self._lock:
            if self._over:
                coming.set_exception(self._over)
                return coming
            self._due[number] = coming
            if self._process.stdin:
                with suppress(BrokenPipeError):  # it ended: heard in a moment
                    # Not by the file's buffer, which would keep what a script that ended did not take.
                    os.write(self._process.stdin.fileno(), f"{json.dumps(asked)}\n".encode())
        return coming

    def _hear(self) -> None:
        over = None
        for line in self._process.stdout or ():
            said = json.loads(line)
            if "answer" in said:
                with self._lock:
                    coming = self._due.pop(said["answer"])
                if "error" in said:
                    coming.set_exception(FetchError(said["error"]))
                else:
                    coming.set_result(said)
            elif "error" in said:
                over = FetchError(said["error"])
        with self._lock:
            self._over = over or FetchError({"kind": "other", "words": self._last_words()})
            for coming in self._due.values():
                coming.set_exception(self._over)

    def _last_words(self) -> str:
        status = self._process.wait()
        self._stray.seek(0)
        return next(reversed(self._stray.read().splitlines()), f"exit status {status}")


def _given(scheme: str, secrets: Mapping[str, str], own: Path) -> dict[str, str]:
    """The variables that the file's secrets stand for; `own` is a folder that nobody else can read."""
    values = {name: value for name in SECRETS[scheme] if (value := secrets.get(name, "").strip())}
    if scheme == "gs":  # the variable names a file
        for name, value in values.items():
            (own / name).write_text(value, encoding="utf-8")
        return {name: str(own / name) for name in values}
    return values
