"""Ask an object store for a model's files: a script, run with a Python that has fsspec's package for that store."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from rayllm.serving.weights.script_parts import LATER, Asked, Remote, get_files, have, patiently, run, say, told
from rayllm.serving.weights.stores.az import Az
from rayllm.serving.weights.stores.gs import Gs
from rayllm.serving.weights.stores.s3 import S3
from rayllm.serving.weights.stores.store import ChangedError, Listed, MissingError, Store, TruncatedError, kind_of
from rayllm.serving.weights.stores.sums import Facts, compare

BLOCK = 4 << 20
"""Bytes that are asked for at a time, and that a connection which breaks may lose."""
AHEAD = 4
"""Blocks of a file that come at a time."""
_STORES: dict[str, type[S3 | Gs | Az]] = {"s3": S3, "gs": Gs, "az": Az}
_SUMS = ("sha256sums", "sha256sums.txt")
_SUM_LINE = re.compile(r"([0-9a-fA-F]{64})(?:[ \t]+\*?(?:\./)?(\S.*))?")
_LARGEST_SUMS = 1 << 20
_LOOKS = 8
"""Parts of files that come at a time for whoever only looks."""
_NEAR = 50
"""Names that an error may have to choose from."""


class Job:
    """What is to be done at a store."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._type: type[Store] = Store
        self._remote = Remote("the store", self._kind_of, lambda _: 0.0, self._facts)

    def run(self) -> None:
        """Do what stdin says."""
        run({"list": self._list, "get": self._get, "look": self._look}, self._remote)

    def _open(self, asked: Asked) -> Store:
        """The store; what was given as a secret is a variable of this process from here on."""
        for name in asked["instead_of"]:
            os.environ.pop(name, None)
        os.environ.update(asked["environ"])
        self._type = _STORES[asked["scheme"]]
        self._store = self._type()
        return self._store

    def _list(self, asked: Asked) -> None:
        """Say what files the model has, and a name for the state that they are in."""
        store = self._open(asked)
        found = self._found(store, asked)
        sums = dict(sums_of(store, asked, found))
        files = {}
        for one in found:
            name, known = _name(asked, one), sums.get(_name(asked, one))
            digest = _digest([one.key, one.size, one.state, known])
            files[name] = {"size": one.size, "digest": digest, "state": one.state, "sha256": known}
        say(listing={"commit": _digest(files)[:40], "files": files})

    def _found(self, store: Store, asked: Asked) -> list[Listed]:
        """The model's objects.

        Raises:
            MissingError: there are none.
        """
        found: list[Listed] = patiently(
            self._remote, lambda: list(listed(store, asked)), asked["patience_s"], lambda: 0
        )
        if not found:
            raise MissingError(f"nothing is at {asked['place']}", near(store, asked))
        return found

    def _look(self, asked: Asked) -> None:
        """Say what files there are, then give the parts of them that are asked for until nobody asks any more."""
        store = self._open(asked)
        say(answer=0, sizes={_name(asked, one): one.size for one in self._found(store, asked)})
        with ThreadPoolExecutor(_LOOKS) as pool:
            while True:
                pool.submit(self._give, store, asked, LATER.get())

    def _give(self, store: Store, asked: Asked, wanted: Asked) -> None:
        try:
            part = store.read(asked["bucket"], _key(asked, wanted["name"]), wanted["start"], wanted["end"])
        except Exception as problem:  # noqa: BLE001 - the parent tells it to a person
            say(answer=wanted["answer"], error=told(self._remote, asked, problem))
        else:
            say(answer=wanted["answer"], part=base64.b64encode(part).decode())

    def _get(self, asked: Asked) -> None:
        """Load the files; what was begun of other states of them goes."""
        store, blobs = self._open(asked), Path(asked["folder"])
        wanted = {f"{file['digest']}.part" for file in asked["files"]}
        for part in blobs.glob("*.part"):
            if part.name not in wanted:
                part.unlink()
        get_files(asked, lambda asked, file, blobs: self._get_file(store, asked, file, blobs))

    def _get_file(self, store: Store, asked: Asked, file: Asked, blobs: Path) -> None:
        """Load one file and compare it with its checksums."""
        whole, part = blobs / file["digest"], blobs / f"{file['digest']}.part"
        if whole.exists():
            return
        key, size = _key(asked, file["path"]), file["size"]

        def read(start: int, end: int) -> bytes:
            return store.read(asked["bucket"], key, start, end)

        def load() -> None:
            with part.open("ab") as target:
                if target.tell() > size:
                    target.truncate(0)
                for block in blocks(read, target.tell(), size):
                    target.write(block)
                    target.flush()

        def facts() -> Facts:
            return store.facts(asked["bucket"], key, size)

        try:
            patiently(self._remote, load, asked["patience_s"], lambda: have(part))
            now = patiently(self._remote, facts, asked["patience_s"], lambda: 0)
        except Exception as problem:
            if self._kind_of(problem) in {"file", "range"}:
                raise ChangedError(f"{file['path']} is gone or shorter") from problem
            raise
        if now.state != file["state"]:
            part.unlink()
            raise ChangedError(f"{file['path']}: {now.state} now, {file['state']} in the list")
        sums = {**now.sums, **({"sha256": file["sha256"]} if file["sha256"] else {})}
        _keep(part, Facts(now.state, sums, now.parts), whole, file["path"])

    def _kind_of(self, problem: BaseException) -> str:
        return kind_of(self._type, problem)

    def _facts(self, asked: Asked, problem: BaseException) -> dict[str, Any]:
        """What belongs to an error."""
        del asked
        store = self._store
        beside = {"near": problem.near} if isinstance(problem, MissingError) else {}
        return {
            **beside,
            "endpoint": store.endpoint if store else "",
            "anonymous": store is not None and store.anonymous,
        }


def _keep(part: Path, facts: Facts, whole: Path, name: str) -> None:
    """Compare a file and give it its final name, its SHA-256 beside it; one that is damaged goes."""
    try:
        sha256, agreed = compare(part, facts, name)
    except Exception:
        part.unlink()
        raise
    if not agreed:
        say(note=f"{name}: the store has no checksum of it, so its size alone was compared")
    whole.with_name(f"{whole.name}.sha256").write_text(sha256)
    part.replace(whole)


def blocks(read: Callable[[int, int], bytes], start: int, end: int) -> Iterator[bytes]:
    """The content from `start` to `end`, block by block, some of them on their way while one is used.

    Raises:
        TruncatedError: one is too short.
    """
    with ThreadPoolExecutor(AHEAD) as pool:
        due: deque[tuple[int, Future[bytes]]] = deque()
        for at in range(start, end, BLOCK):
            to = min(at + BLOCK, end)
            due.append((to - at, pool.submit(read, at, to)))
            if len(due) > AHEAD:
                yield _whole(*due.popleft())
        while due:
            yield _whole(*due.popleft())


def _whole(size: int, coming: Future[bytes]) -> bytes:
    block = coming.result()
    if len(block) != size:
        raise TruncatedError(f"{len(block)} bytes came where {size} were asked for")
    return block


def listed(store: Store, asked: Asked) -> Iterable[Listed]:
    """The objects that are or may be of the model; for a GGUF file, those of its folder alone."""
    for one in store.files(asked["bucket"], asked["prefix"], below=asked["file"] is None):
        # A name becomes a path on the node.
        if not {"", ".", ".."}.intersection(_name(asked, one).split("/")):
            yield one


def _name(asked: Asked, one: Listed) -> str:
    """An object's name in the model's folder."""
    return one.key.removeprefix(f"{asked['prefix']}/") if asked["prefix"] else one.key


def _key(asked: Asked, name: str) -> str:
    """The object behind a name in the model's folder."""
    return f"{asked['prefix']}/{name}".lstrip("/")


def sums_of(store: Store, asked: Asked, found: list[Listed]) -> Iterator[tuple[str, str]]:
    """SHA-256 by file, as lists beside the files say it: `SHA256SUMS`, `NAME.sha256`."""
    for one in found:
        path = PurePosixPath(_name(asked, one))
        single = path.suffix.lower() == ".sha256"
        if one.size > _LARGEST_SUMS or not (single or path.name.lower() in _SUMS):
            continue
        for line in store.read(asked["bucket"], one.key, 0, one.size).decode(errors="replace").splitlines():
            if match := _SUM_LINE.fullmatch(line.strip()):
                name = path.stem if single else match[2]
                if name:
                    yield str(path.with_name(name) if single else path.parent / name), match[1].lower()


def near(store: Store, asked: Asked) -> list[str]:
    """What lies where the model's folder should: names that may have been meant."""
    parent = asked["prefix"].rpartition("/")[0]
    names = store.names(asked["bucket"], parent)
    return [f"{parent}/{name}".lstrip("/") for name in names[:_NEAR]]


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def main() -> None:
    """Do what stdin says."""
    Job().run()
