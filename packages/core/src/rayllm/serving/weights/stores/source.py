"""Weights in an object store: fetched by a script that has fsspec's package for it, kept by what is there now."""

from __future__ import annotations

import hashlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rayllm.engines import Device, Environment
from rayllm.serving.prepare import interpreters
from rayllm.serving.prepare.environments import build_environment
from rayllm.serving.secrets import place_of, secret
from rayllm.serving.weights.kept import Remote, Repository, fetch_kept
from rayllm.serving.weights.script_run import FetchScript
from rayllm.serving.weights.stores.errors import explain
from rayllm.serving.weights.stores.settings import LIBRARIES, PLACES, QUIET, SECRETS
from rayllm.serving.weights.stores.uri import StoreUri, parse_store
from rayllm.sources import FetchProgress

MODULE = "rayllm.serving.weights.stores.script"
"""Run with a Python that has the library."""
_READABLE = 60
"""Characters of a place that its folder's name has."""


def fetch(uri: str, cache: Path, report: FetchProgress) -> Path:
    """The folder of the model, or its GGUF file, on this node; it lies in `models/SCHEME/`.

    Raises:
        InputError: the URI is malformed, or nothing that can be served is at that place.
        RayllmError: it can't be fetched, with the store's own words and what to do; what came is kept.
    """
    wanted = parse_store(uri)
    remote = Remote(script=partial(_script, wanted), explain=partial(explain, wanted))
    return fetch_kept(wanted, Repository(folder_of(wanted, cache)), remote, report)


def folder_of(uri: StoreUri, cache: Path) -> Path:
    """Where a model is kept: readable, and apart from every other."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", uri.repo)[:_READABLE].strip("-.")
    return cache / uri.scheme / f"{readable}-{hashlib.sha256(uri.place.encode()).hexdigest()[:12]}"


def environment_of(scheme: str) -> Environment:
    """What a script for that kind of store needs."""
    return Environment(LIBRARIES[scheme])


def asked_of(uri: StoreUri, given: dict[str, str]) -> dict[str, Any]:
    """What the script has to know of a place, with the environment variables that secrets stand in for."""
    credentials = [name for name in SECRETS[uri.scheme] if name not in PLACES]
    return {
        "scheme": uri.scheme,
        "bucket": uri.bucket,
        "prefix": uri.prefix,
        "file": uri.file,
        "place": uri.place,
        "environ": given,
        # A key of the file's with a session token of the node's would be refused.
        "instead_of": credentials if given.keys() & set(credentials) else (),
    }


def _script(uri: StoreUri, report: FetchProgress, lock: int) -> FetchScript:
    """The script for one model: with this Python where it has the library, else with an environment, built once.

    Raises:
        RayllmError: it can't be built; with uv's own words and what to do.
    """
    if all(map(interpreters.satisfied_here, LIBRARIES[uri.scheme])):
        python = sys.executable
    else:
        python = build_environment(uri.scheme, environment_of(uri.scheme), Device(kind="cpu"), report)
    return FetchScript(
        python=python,
        module=MODULE,
        environ=QUIET.get(uri.scheme, {}),
        asked=asked_of(uri, _given(uri.scheme)),
        whom=f"the store for {uri}",
        report=report,
        lock=lock,
    )


def _given(scheme: str) -> dict[str, str]:
    """The secrets that this node has for such a store."""
    values = {name: value for name in SECRETS[scheme] if (value := secret(name))}
    if scheme == "gs":  # the variable names a file
        return {name: str(place_of(name)) for name in values}
    return values
