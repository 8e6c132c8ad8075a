"""Weights on the Hugging Face hub: fetched by a script that has huggingface_hub, kept by commit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rayllm.serving.weights.hub_errors import explain
from rayllm.serving.weights.hub_script_run import hub_script
from rayllm.serving.weights.hub_uri import parse_hub
from rayllm.serving.weights.kept import Remote, Repository, fetch_kept
from rayllm.sources import FetchProgress


def fetch(uri: str, cache: Path, report: FetchProgress) -> Path:
    """The folder of the model, or its GGUF file, on this node; it lies in `models/hub/ORG--NAME/`.

    Raises:
        InputError: the URI, the repository or the file is not what can be served.
        RayllmError: it can't be fetched, with the hub's own words and what to do; what came is kept.
    """
    wanted = parse_hub(uri)
    place = Repository(cache / "hub" / wanted.repo.replace("/", "--"))
    remote = Remote(script=partial(hub_script, wanted), explain=partial(explain, wanted))
    return fetch_kept(wanted, place, remote, report)
