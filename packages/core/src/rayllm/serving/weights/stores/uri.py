"""`s3://BUCKET/PATH[/a.gguf]`, and the same with `gs://` and `az://`: a place in an object store. Pure, and light."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rayllm.errors import InputError

SCHEMES = ("s3", "gs", "az")
_URI = re.compile(r"(?P<scheme>s3|gs|az)://(?P<bucket>[^/]+)(?:/(?P<path>.*?))?/?", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
"""The widest of what the stores take; the store knows the rest."""
_SHOWN = 80
_LONGEST = 1024
"""Bytes of an object's name."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".json")


@dataclass(frozen=True, slots=True)
class StoreUri:
    """What such a URI names."""

    scheme: str
    bucket: str
    """In Azure's words a container."""
    prefix: str
    """What the names of the model's objects begin with, up to a `/`; empty for all of the bucket."""
    file: str | None
    """Name of a GGUF file there; None for the model that all of it is."""

    @property
    def repo(self) -> str:
        """Without the scheme and the file."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    @property
    def place(self) -> str:
        """Without the file."""
        return f"{self.scheme}://{self.repo}"

    @property
    def revision(self) -> str:
        """What is there changes, so this names only what was looked for."""
        return self.file or "all"

    @property
    def pinned(self) -> bool:
        """Never: a store is asked each time."""
        return False

    def __str__(self) -> str:
        """As a person writes it."""
        return f"{self.place}/{self.file}" if self.file else self.place


def check_store(uri: str) -> str | None:
    """Whether it has the right form; what is there is known on the node alone."""
    match = _URI.fullmatch(uri)
    scheme = uri.partition(":")[0]
    if match is None:
        return f"write {scheme}://BUCKET/PATH/OF/THE/FOLDER or {scheme}://BUCKET/PATH/OF/A.gguf"
    if not _BUCKET.fullmatch(match["bucket"]):
        what = "container" if scheme == "az" else "bucket"
        return f'"{match["bucket"][:_SHOWN]}" is no name of a {what}: letters, digits, "-", "_" and "."'
    return _wrong_path(match["path"]) if match["path"] else None


def _wrong_path(path: str) -> str | None:
    if len(path.encode("utf-8", "surrogatepass")) > _LONGEST:
        return f"the path in a store has at most {_LONGEST} bytes"
    if not path.isprintable():
        return "the path holds a character that can't be printed"
    if {"", ".", ".."}.intersection(path.split("/")):
        return 'the path may not hold "//", "." or ".."'
    if path.lower().endswith(_WEIGHTS):
        return f'"{path}" is a file of a model: name its folder, or a .gguf file'
    return None


def parse_store(uri: str) -> StoreUri:
    """What the URI names.

    Raises:
        InputError: it has another form.
    """
    match, wrong = _URI.fullmatch(uri), check_store(uri)
    if match is None or wrong:
        raise InputError(f"source {uri!r}: {wrong}")
    prefix, file = match["path"] or "", None
    if prefix.lower().endswith(".gguf"):
        prefix, _, file = prefix.rpartition("/")
    return StoreUri(match["scheme"], match["bucket"], prefix, file)
