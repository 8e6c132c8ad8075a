"""A cluster that is only a dashboard, and a file that is served on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tests.distributions import Site

from rayllm import (
    Backend,
    Cluster,
    ClusterBackend,
    ClusterSpec,
    Command,
    Engine,
    Environment,
    ModelSource,
    Options,
    PlatformNode,
    Progress,
)
from rayllm.cluster.serve_api import ServeApi
from rayllm.config import load
from rayllm.deployment.session import Session
from rayllm.plugins import PluginInfo, Plugins
from rayllm.testing.fake_dashboard import FakeDashboard

TOKEN = "t0ken-of-the-cluster"
FILE = """
name: demo
models:
  small: {engine: toy, source: file:/weights/small}
  large: {engine: toy, source: file:/weights/large, options: {size: 2}}
"""


class ToyOptions(Options):
    """An engine's options."""

    size: int = 1


@dataclass
class Shown:
    """A `rayllm.Progress` that remembers."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, step: str, detail: str, *, done: bool = False) -> None:
        """One line, as it was told."""
        self.lines.append(f"{'✔' if done else '·'} {step}: {detail}")


class MemoryBackend(ClusterBackend):
    """One cluster that is there already, or is not."""

    def __init__(self, cluster: Cluster | None) -> None:
        self.cluster = cluster
        self.destroyed: list[str] = []
        self.wanted: ClusterSpec | None = None
        self.scaled: list[tuple[str, int]] = []

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:  # noqa: ARG002
        """It is there."""
        assert self.cluster
        self.wanted = spec
        return self.cluster

    def find(self, name: str) -> Cluster | None:  # noqa: ARG002
        """It, or nothing."""
        return self.cluster

    def destroy(self, name: str, progress: Progress) -> None:  # noqa: ARG002
        """Remember the name."""
        self.destroyed.append(name)

    def scale(self, name: str, group: str, count: int, progress: Progress) -> None:  # noqa: ARG002
        """The platform has so many at once."""
        assert self.cluster
        self.scaled.append((group, count))
        others = [node for node in self.cluster.nodes if node.group != group]
        made = [PlatformNode(name=f"{group}-{n + 1}", state="running", group=group) for n in range(count)]
        self.cluster = replace(self.cluster, nodes=[*others, *made])
        progress("nodes", f"{group} has {count}", done=True)

    def logs(self, name: str, node: str, *, lines: int) -> Iterator[str]:
        """In two pieces."""
        yield f"{name} {node}\n"
        yield f"{lines} lines\n"


@pytest.fixture
def dashboard() -> Iterator[FakeDashboard]:
    """A dashboard that wants TOKEN."""
    with FakeDashboard(TOKEN) as server:
        yield server


@pytest.fixture
def cluster(dashboard: FakeDashboard) -> Cluster:
    """The cluster behind it; the gateway's admin API answers at the same address."""
    return Cluster(name="demo", dashboard_url=dashboard.url, gateway_url=dashboard.url, token=TOKEN)


@pytest.fixture
def api(cluster: Cluster) -> Iterator[ServeApi]:
    """Its client."""
    with ServeApi.of(cluster) as client:
        yield client


@pytest.fixture
def shown() -> Shown:
    """What was told on the way."""
    return Shown()


class OfCore(Plugins):
    """Where plugins come from matters to the code package alone: here, core's own distribution."""

    def origin_of(self, kind: str, name: str) -> PluginInfo:
        """Core."""
        return PluginInfo(name="core", module="rayllm.builtin", distribution="rayllm-core", offers=(f"{kind} {name}",))


Open = Callable[..., Session]


@pytest.fixture
def opened(cluster: Cluster, tmp_path: Path) -> Open:
    """Make a session of a file's text; `create` and other capabilities as named, the cluster's fields as given."""

    def make(text: str = FILE, *capabilities: str, environ: Mapping[str, str] = {}, **fields: Any) -> Session:
        def never(*_: Any) -> Any:
            raise AssertionError

        plugins = OfCore()
        plugins.engines["toy"] = Engine(
            name="toy", summary="", options=ToyOptions, environment=Environment(()), commands=lambda _: [Command()]
        )
        plugins.sources["file"] = ModelSource(scheme="file", summary="", check=lambda _: None, fetch=never)
        plugins.backends["local"] = Backend(
            name="local",
            summary="",
            options=Options,
            open=lambda _: MemoryBackend(replace(cluster, **fields)),
            capabilities=frozenset(capabilities),
        )
        file = tmp_path / "rayllm.yaml"
        file.write_text(dedent(text))
        return Session(load(file, plugins, environ), plugins)

    return make


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A place to install distributions to, which is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    folder = tmp_path / "site"
    folder.mkdir()
    yield Site(folder, tmp_path / "projects")
    for name in set(sys.modules) - before:
        place = [*getattr(sys.modules[name], "__path__", ()), getattr(sys.modules[name], "__file__", None)]
        if any(str(path).startswith(str(tmp_path)) for path in place):
            del sys.modules[name]
