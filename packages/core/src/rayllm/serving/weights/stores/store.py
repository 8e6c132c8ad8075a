"""What a script asks of a store, whichever it is. Part of a script: the standard library alone."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from rayllm.serving.weights.script_parts import FULL, ChecksumError
from rayllm.serving.weights.stores.sums import Facts


class Listed(NamedTuple):
    """An object as a listing has it."""

    key: str
    """Its name in the bucket."""
    size: int
    state: str
    """Changes with the content."""


class ChangedError(Exception):
    """An object that is not the one any more that was listed."""


class TruncatedError(Exception):
    """An answer that has fewer bytes than were asked for."""


class MissingError(Exception):
    """No object is where a model should be."""

    def __init__(self, words: str, near: list[str]) -> None:
        super().__init__(words)
        self.near = near
        """What lies beside it."""


class Store:
    """A store behind one of fsspec's file systems, as the node's or the given credentials see it."""

    name: ClassVar[str]
    """What it is called."""
    state: ClassVar[str]
    """What of an object's facts changes with its content."""

    def __init__(self, files: Any, endpoint: str, *, anonymous: bool) -> None:
        self._files = files
        self.endpoint = endpoint
        """Where it is asked."""
        self.anonymous = anonymous
        """Whether no credentials were found."""

    def files(self, bucket: str, prefix: str, *, below: bool) -> Iterator[Listed]:
        """The objects of a folder, those of folders below it included or not.

        Raises:
            Exception: the library's own; `kind_of` knows what it means.
        """
        path = f"{bucket}/{prefix}".rstrip("/")
        found = self._files.find(path, detail=True) if below else self._there(path)
        infos = found.values() if isinstance(found, dict) else found
        for one in infos:
            # An object of the folder's own name, or its marker, is no part of it.
            if not isinstance(one, str) and one["type"] == "file" and one["name"].startswith(f"{path}/"):
                name = one["name"].removeprefix(f"{bucket}/")
                yield Listed(name, int(one["size"]), str(one[self.state]).strip('"'))

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Names of the folders and objects in a folder."""
        there = self._there(f"{bucket}/{prefix}".rstrip("/"))
        return sorted(one["name"].rstrip("/").rpartition("/")[2] for one in there)

    def _there(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._files.ls(path, detail=True)
        return found

    def read(self, bucket: str, key: str, start: int, end: int) -> bytes:
        """The bytes of an object from `start` up to `end`."""
        return bytes(self._files.cat_file(f"{bucket}/{key}", start=start, end=end))

    def facts(self, bucket: str, key: str, size: int) -> Facts:
        """What the store says of an object now."""
        raise NotImplementedError

    @staticmethod
    def kind_of(problem: BaseException) -> str | None:
        """What went wrong, where the store's own error tells it."""
        raise NotImplementedError


def chain(problem: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    at: BaseException | None = problem
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def kind_of(store: type[Store], problem: BaseException) -> str:
    """What went wrong, in one of the words that `stores.errors` knows."""
    for error, kind in (
        (ChecksumError, "checksum"),
        (ChangedError, "changed"),
        (MissingError, "missing"),
        (TruncatedError, "unreachable"),
    ):
        if isinstance(problem, error):
            return kind
    for one in chain(problem):
        if isinstance(one, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(one):
            return "tls"
        if isinstance(one, OSError) and one.errno in FULL:
            return "disk"
    if kind_there := store.kind_of(problem):
        return kind_there
    # The HTTP client's own errors: no name, no connection, silence.
    lost = (TimeoutError, ConnectionError)
    if any(isinstance(one, lost) or type(one).__module__.startswith("aiohttp") for one in chain(problem)):
        return "unreachable"
    return "other"


def first_of(kinds: Mapping[type[BaseException], str], problem: BaseException) -> str | None:
    """What the first error in the chain means that the table has."""
    for one in chain(problem):
        for error, kind in kinds.items():
            if isinstance(one, error):
                return kind
    return None


def kind_of_status(status: int) -> str | None:
    """What an answer of HTTP means that tells nothing more."""
    kinds = {400: None, 401: "credentials", 403: "denied", 404: "file", 408: "unreachable", 416: "range", 429: "limit"}
    return kinds.get(status, "server" if status >= 500 else None)  # noqa: PLR2004
