"""Which models' engines need environments, as the job is told, and how these are named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rayllm.backends import Preparation
from rayllm_backend_cai import shared

_FIELDS = ("engine", "version", "environment", "image", "packages")


def digest_of(preparation: Preparation) -> str:
    """Names the environments, and not the rest of the models: a longer context needs no other environment."""
    needs = sorted({json.dumps(_needs(model), sort_keys=True) for model in preparation.models})
    return hashlib.sha256("\n".join([preparation.digest, *needs]).encode()).hexdigest()[:12]


def content_of(preparation: Preparation) -> bytes:
    """What the job reads."""
    return json.dumps({"code": preparation.digest, "models": [dict(model) for model in preparation.models]}).encode()


def place_of(cluster: str, digest: str) -> PurePosixPath:
    """Where it reads that, below the project's folder."""
    return shared.cluster_folder(cluster) / "preparations" / f"{digest}.json"


def _needs(model: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine's environment depends on; of the options, those alone that may ask for further packages."""
    words = {name: value for name, value in (model.get("options") or {}).items() if isinstance(value, str)}
    gpus = bool(model.get("gpus"))
    return {**{name: model.get(name) for name in _FIELDS}, "gpus": gpus, "options": words}
