"""A cluster in a stand-in workspace as an operator sees it; its nodes run a stub instead of Ray."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rayllm import Cluster, ClusterSpec
from rayllm_backend_cai import shared
from rayllm_backend_cai.backend import CaiBackend
from rayllm_backend_cai.bootstrap.requirements import serving_for
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.testing import FakeCai

NAME = "demo"
STUB = Path(__file__).with_name("cai_stub_node.py")
SMALL: dict[str, Any] = {"cpus": 1, "memory": "2GiB"}
THREE_WORKERS: dict[str, Any] = {"workers": {"w": {**SMALL, "count": 3}}}


@dataclass
class Operators:
    """Who brings clusters up in one project of a workspace."""

    fake: FakeCai
    project: str
    told: list[tuple[str, str]] = field(default_factory=list)
    """Step and detail of every progress."""

    @property
    def folder(self) -> Path:
        """The project's."""
        return self.fake.folder(self.project)

    def cluster_folder(self, name: str = NAME) -> Path:
        """A cluster's, on the project's disk."""
        return self.folder / shared.cluster_folder(name)

    def backend(self, **options: Any) -> CaiBackend:
        """Opened with these options beside the workspace's."""
        told = {"host": self.fake.url, "key": self.fake.key, "project": "llm", **options}
        return CaiBackend(CaiOptions.model_validate_json(json.dumps(told)))

    def up(self, name: str = NAME, spec: dict[str, Any] | None = None, **options: Any) -> Cluster:
        """Bring a cluster up."""
        wanted = {"gateway_host": "127.0.0.1", "gateway_port": 8000, **(spec or {})}
        return self.backend(**options).ensure(ClusterSpec(name=name, **wanted), self.progress)

    def down(self, name: str = NAME, **options: Any) -> None:
        """Remove one."""
        self.backend(**options).destroy(name, self.progress)

    def progress(self, step: str, detail: str, *, done: bool = False) -> None:
        """A `rayllm.Progress` that remembers."""
        self.told.append((step, f"{detail}, done" if done else detail))

    def said(self) -> str:
        """All of it, for a person."""
        return "\n".join(f"{step}: {detail}" for step, detail in self.told)

    def rows(self, name: str = NAME) -> list[dict[str, Any]]:
        """Applications that the platform lists, whose environment names the cluster, without asking its API."""
        mark = f'"{shared.CLUSTER}": "{name}"'
        world = self.fake._world
        shown = world.shown(dict(world.project(self.project).applications))
        return [row for row in shown if mark in row["environment"]]

    def made(self, name: str = NAME) -> list[str]:
        """What there is of a cluster, a word for each thing."""
        applications = Counter(
            f"{row['name'].removeprefix(name)} {row['status'].rpartition('_')[2].lower()}" for row in self.rows(name)
        )
        jobs = [item.row for item in self.fake._world.project(self.project).jobs.values()]
        words = [*applications.elements(), *("job" for row in jobs if row["name"].startswith(f"{name}-"))]
        return sorted([*words, *(["folder"] if self.cluster_folder(name).exists() else [])])

    def misfortune(self, node: str, words: str) -> None:
        """From now on this node ends at once."""
        self._make(node, ".misfortune", words)

    def slowness(self, node: str, words: str) -> Path:
        """This node starts and says these words, until the file is gone."""
        return self._make(node, ".slowness", words)

    def _make(self, node: str, what: str, words: str) -> Path:
        place = self.folder / what / node
        place.parent.mkdir(exist_ok=True)
        place.write_text(words)
        return place


def plant(folder: Path) -> None:
    """The nodes' Python environment on a project's disk; what it runs is the stub."""
    minor = "3.11"
    environment = folder / shared.SERVING / serving_for(minor).digest
    python = environment / "bin/python"
    python.parent.mkdir(parents=True, exist_ok=True)
    # without the code that was uploaded: the stub is made of more than that
    python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" -u "{STUB}"\n')
    python.chmod(0o755)
    (environment / shared.READY).write_text("{}")


@contextmanager
def operators(**settings: Any) -> Iterator[Operators]:
    """A workspace with a project that has the nodes' environment; names of applications are found through a proxy."""
    from rayllm_backend_cai.testing import Settings

    with FakeCai(Settings(**settings)) as fake, pytest.MonkeyPatch.context() as patch:
        for name in ("CML_HOST", "CML_API_KEY", "CML_APPLICATION_KEY", "CML_PROJECT", "NO_PROXY", "no_proxy"):
            patch.delenv(name, raising=False)
        patch.setenv("HTTP_PROXY", fake.url)
        project = fake.add_project("llm")
        plant(fake.folder(project))
        yield Operators(fake, project)
