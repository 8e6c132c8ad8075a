"""Plugins made up for a test: as descriptors, and as distributions with real metadata in a folder of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from rayllm import Backend, Command, Engine, Environment, InputError, Launch, ModelSource, Options
from rayllm.config import Checked, ConfigErrors, load
from rayllm.plugins import Plugins


class Site:
    """A folder like site-packages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules: list[str] = []

    def add(self, name: str, source: str, *, requires: str = "rayllm-core", point: str | None = None) -> None:
        """Install a distribution `rayllm-NAME` 0.3.1 with the entry point NAME and one module."""
        module = f"made_up_{name.replace('-', '_')}"
        self.modules.append(module)
        (self.path / f"{module}.py").write_text(dedent(source))
        info = self.path / f"rayllm_{name.replace('-', '_')}-0.3.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: rayllm-{name}\nVersion: 0.3.1\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[rayllm]\n{point or name} = {module}\n")

    def points(self) -> list[EntryPoint]:
        """The entry points of all of them."""
        found = distributions(path=[str(self.path)])
        return [point for distribution in found for point in distribution.entry_points]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty one, on the path of imports."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


class Kind(str, Enum):
    """A choice."""

    SMALL = "small"
    LARGE = "large"


class Draft(Options):
    """A block within a block."""

    tokens: int = 1


class EngineOptions(Options):
    """One field of every sort that a plugin may use."""

    max_model_len: int | None = Field(default=None, gt=0)
    dtype: Literal["auto", "float32"] = "auto"
    kind: Kind = Kind.SMALL
    stop: tuple[str, ...] = ()
    folder: Path | None = None
    share: float = Field(default=0.9, le=1)
    eager: bool = False
    draft: Draft | None = None
    drafts: list[Draft] = Field(default_factory=list)
    by_name: dict[str, Draft] = Field(default_factory=dict)
    token: str = ""

    @field_validator("token")
    @classmethod
    def _no_spaces(cls, value: str) -> str:
        if " " in value:
            raise ValueError(f"a token has no spaces: {value}")
        if value.endswith("crash"):
            raise KeyError(value)
        return value

    @model_validator(mode="after")
    def _not_both(self) -> EngineOptions:
        if self.eager and self.draft:
            raise ValueError("eager and draft exclude each other")
        return self


class BackendOptions(Options):
    """One option that is required."""

    nodes: int
    token: str = ""


def check_source(uri: str) -> str | None:
    """Wrong, or broken, as the URI asks for."""
    if uri.endswith("crash"):
        raise OSError(uri)
    return None if "/" in uri else f"{uri} has no path"


def commands(launch: Launch[Any]) -> list[Command]:
    """Finds fault with a launch that its options ask it to."""
    if launch.options.dtype == "float32":
        raise InputError("this dtype needs a GPU", cure="resources.gpus: 1")
    if launch.options.token == "lost":
        raise KeyError("cuda")
    return [Command(launch.python)]


def never(*_: Any) -> Any:
    """Checking a file opens and fetches nothing."""
    raise AssertionError


@pytest.fixture
def plugins() -> Plugins:
    """Two engines, two backends, two sources."""
    found = Plugins.discover([], disabled="")
    for name, capabilities in (("vllm", {"gguf"}), ("sglang", set[str]())):
        found.engines[name] = Engine(
            name=name,
            summary="",
            options=EngineOptions,
            environment=Environment(("vllm==0.32.0",) if name == "vllm" else ()),
            commands=commands,
            capabilities=capabilities,
        )
    found.backends["local"] = Backend(name="local", summary="", options=Options, open=never)
    found.backends["cai"] = Backend(name="cai", summary="", options=BackendOptions, open=never)
    for scheme in ("file", "package"):
        found.sources[scheme] = ModelSource(scheme=scheme, summary="", check=check_source, fetch=never)
    return found


class Checker:
    """Checks files of the content given, in an empty folder, where each is called `f`."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins

    def right(self, content: str, environ: Mapping[str, str] | None = None) -> Checked:
        """What the file is found to be."""
        Path("f").write_text(content)
        return load(Path("f"), self.plugins, environ or {})

    def mistakes(self, content: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """The lines of the error, but the last."""
        with pytest.raises(ConfigErrors) as caught:
            self.right(content, environ)
        lines = str(caught.value).splitlines()
        count = len(caught.value.problems)
        assert lines.pop() == "  more   rayllm explain config"
        assert lines.pop() == f"{count} problem{'s' * (count != 1)}, nothing was changed."
        return lines


@pytest.fixture
def check(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checker:
    """With the made-up plugins."""
    monkeypatch.chdir(tmp_path)
    return Checker(plugins)
