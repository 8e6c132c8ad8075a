"""What a run of the job is asked for: by its environment, and by files that the operator uploads. Standard library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayllm.errors import ClusterError
from rayllm.paths import home

# Names are those of `shared` and of the client of the API, which need more than the standard library.
CLUSTER = "RAYLLM_CAI_CLUSTER"
SERVING_DIGEST = "RAYLLM_CAI_SERVING"
PREPARATION = "RAYLLM_CAI_PREPARATION"
"""Digest of the models whose engines' environments are made; empty for none."""
RUN = "RAYLLM_CAI_RUN"
"""By which the operator knows this run."""
READY = "ready.json"


@dataclass(frozen=True)
class Asked:
    """What is to be made."""

    cluster: str
    serving: str
    """Digest of the nodes' environment."""
    preparation: str
    run: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Asked:
        """As the job's environment says.

        Raises:
            KeyError: it is not an environment of the job's.
        """
        return cls(environ[CLUSTER], environ[SERVING_DIGEST], environ.get(PREPARATION, ""), environ.get(RUN, ""))

    @property
    def cluster_folder(self) -> Path:
        """With the cluster's own files."""
        return home() / "clusters" / self.cluster

    @property
    def serving_folder(self) -> Path:
        """Where the nodes' environment lies."""
        return home() / "serving" / self.serving

    @property
    def ready(self) -> Path:
        """Is written when the nodes' environment is finished."""
        return self.serving_folder / READY

    @property
    def prepared(self) -> Path:
        """Is written when the engines' environments are finished."""
        return self.serving_folder / prepared_name(self.preparation)

    def wanted_serving(self) -> dict[str, Any]:
        """`python`, `requirements` and `imports` of the nodes' environment.

        Raises:
            ClusterError: nothing of that name was uploaded.
        """
        return _read(self.serving_folder.with_name(f"{self.serving}.json"))

    def wanted_engines(self) -> dict[str, Any]:
        """`models`, and the digest of the `code` that makes their engines' environments.

        Raises:
            ClusterError: nothing of that name was uploaded.
        """
        return _read(self.cluster_folder / "preparations" / f"{self.preparation}.json")

    def packages(self) -> dict[str, Any] | None:
        """The `packages:` of the person's file, which every model has.

        Raises:
            ClusterError: nothing of that name was uploaded.
        """
        models = self.wanted_engines()["models"] if self.preparation else []
        return next((model.get("packages") for model in models), None)


def prepared_name(preparation: str) -> str:
    """Name of the file in `serving/DIGEST/` that says that these engines' environments are finished."""
    return f"prepared-{preparation}.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"what is to be made is told by {file}, which can't be read", cause=str(error), cure="rayllm up"
        ) from error
