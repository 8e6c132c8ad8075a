"""Which Python an engine runs with, where nothing has to be built."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rayllm import Command, Device, Engine, Environment, FetchProgress, InputError, Options, RayllmError
from rayllm.serving.prepare import environments, interpreters
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.environments import ensure_environment, folder_of

CPU = Device(kind="cpu")


def engine(environment: Environment | Mapping[str, Environment]) -> Engine[Options]:
    """An engine that is never started."""
    return Engine(name="tiny", summary="", options=Options, environment=environment, commands=lambda _: [Command()])


def silent(detail: str) -> None:
    """Report to nobody."""


HERE = engine(Environment(["pytest==0"], provides="pytest>=7"))
NOWHERE = engine(Environment(["rayllm-not-there==1"]))
OTHER_VERSION = engine(Environment(["pytest==0.1"]))


def test_auto_takes_this_python_when_it_has_the_engine() -> None:
    """Nothing is built for what is there already."""
    assert ensure_environment(HERE, "auto", CPU, silent) == sys.executable


def test_auto_takes_this_python_for_an_engine_that_needs_nothing() -> None:
    """No requirements: any Python will do."""
    assert ensure_environment(engine(Environment([])), "auto", CPU, silent) == sys.executable


def test_auto_takes_this_python_only_with_the_version_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is built, and remembered as what was asked for."""
    built: list[tuple[Environment, str]] = []

    def build(name: str, wanted: Environment, device: Device, report: FetchProgress, version: str) -> str:
        built.append((wanted, version))
        return name

    monkeypatch.setattr(environments, "build_environment", build)
    here = ".".join(pytest.__version__.split(".")[:2])
    assert ensure_environment(HERE, "auto", CPU, silent, version=here) == sys.executable
    assert built == []
    assert ensure_environment(HERE, "auto", CPU, silent, version="1.0.0") == "tiny"
    ((wanted, version),) = built
    assert (wanted.requires, version) == (("pytest==1.0.0",), "1.0.0")


STREAMING = {"load_format": "streamer"}


def with_streamer(name: str) -> Engine[Options]:
    """`HERE`, where an option needs one more package."""
    return replace(HERE, extras={"load_format": {"streamer": [f"{name}==0"]}})


def test_auto_builds_for_an_option_that_this_python_lacks_a_package_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package beside the others, for the models with that option alone; a Python that has it will do."""
    built: list[Environment] = []

    def build(name: str, wanted: Environment, *_: object) -> str:
        built.append(wanted)
        return name

    monkeypatch.setattr(environments, "build_environment", build)
    lacks, has = with_streamer("rayllm-not-there"), with_streamer("packaging")
    for offered, options in ((lacks, {}), (lacks, {"load_format": "auto"}), (has, STREAMING)):
        assert ensure_environment(offered, "auto", CPU, silent, options=options) == sys.executable
    assert ensure_environment(lacks, "auto", CPU, silent, options=STREAMING) == "tiny"
    assert ensure_environment(lacks, "auto", CPU, silent, version="1.0.0", options=STREAMING) == "tiny"
    assert [tuple(one.requires) for one in built] == [
        ("pytest==0", "rayllm-not-there==0"),
        ("pytest==1.0.0", "rayllm-not-there==0"),
    ]


@pytest.mark.parametrize("choice", ["current", sys.prefix])
def test_a_chosen_python_without_the_package_of_an_option(choice: str) -> None:
    """Named with the option that needs it; any version of it will do."""
    lacks = with_streamer("rayllm-not-there")
    words = "engine 'tiny' needs rayllm-not-there for load_format: streamer, and "
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        ensure_environment(lacks, choice, CPU, silent, options=STREAMING)
    assert "install rayllm-not-there there" in str(caught.value.cure)
    assert ensure_environment(lacks, choice, CPU, silent)
    assert ensure_environment(with_streamer("packaging"), choice, CPU, silent, options=STREAMING)


def test_a_version_that_is_none() -> None:
    """A file of an older RayLLM may say anything."""
    with pytest.raises(InputError, match="engine 'tiny': nothing is installed"):
        ensure_environment(engine(Environment([])), "auto", CPU, silent, version="1")


def test_current_and_paths() -> None:
    """This Python, its interpreter and its folder, each with the engine in it."""
    assert ensure_environment(HERE, "current", CPU, silent) == sys.executable
    assert ensure_environment(HERE, sys.executable, CPU, silent) == sys.executable
    assert ensure_environment(HERE, sys.prefix, CPU, silent) == f"{sys.prefix}/bin/python"


@pytest.mark.parametrize("choice", ["current", sys.prefix])
@pytest.mark.parametrize(
    ("wanted", "words"), [(NOWHERE, "has no rayllm-not-there"), (OTHER_VERSION, f"has pytest {pytest.__version__}")]
)
def test_a_chosen_python_without_the_engine(choice: str, wanted: Engine[Options], words: str) -> None:
    """Nothing is installed into an environment that a person named."""
    with pytest.raises(InputError, match=words):
        ensure_environment(wanted, choice, CPU, silent)


def test_a_path_without_a_python(tmp_path: Path) -> None:
    """The error names where it looked."""
    with pytest.raises(InputError, match=f"no Python that runs at {tmp_path}/bin/python"):
        ensure_environment(HERE, str(tmp_path), CPU, silent)


def test_a_device_the_engine_does_not_run_on() -> None:
    """An engine for GPUs alone, on a node without."""
    with pytest.raises(InputError, match="'tiny' does not run on 'cpu'"):
        ensure_environment(engine({"cuda": Environment([])}), "auto", CPU, silent)


def test_an_environment_is_named_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same requirements share a folder; any difference has its own."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    first = folder_of("tiny", Environment(["a==1"]), CPU)
    assert first == folder_of("tiny", Environment(("a==1",), provides="a"), CPU)
    assert first.parent == tmp_path / "environments"
    assert first.name.startswith("tiny-cpu-")
    others = [
        folder_of("tiny", Environment(["a==2"]), CPU),
        folder_of("tiny", Environment(["a==1"], python=">=3.99"), CPU),
        folder_of("tiny", Environment(["a==1"]), Device(kind="cuda")),
        folder_of("tiny", Environment(["a==1"], files={"a.py": "A = 1"}), CPU),
        folder_of("tiny", Environment(["a==1"], files={"a.py": "A = 2"}), CPU),
    ]
    assert len({first, *others}) == 6


def test_an_environment_that_does_not_work() -> None:
    """The interpreter's own last lines."""
    with pytest.raises(RayllmError, match="can't be imported") as caught:
        interpreters.check_imports(sys.executable, ["json", "rayllm_not_there"], "tiny-cpu")
    assert "No module named 'rayllm_not_there'" in str(caught.value.cause)


def test_tools_do_not_get_what_ray_and_python_added() -> None:
    """Another interpreter must not find this one's packages, nor Ray's settings."""
    environ = {"PATH": "/bin", "RAY_ADDRESS": "a", "PYTHONPATH": "b", "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": "c"}
    assert clean_environ({**environ, "HTTPS_PROXY": "d"}) == {"PATH": "/bin", "HTTPS_PROXY": "d"}
