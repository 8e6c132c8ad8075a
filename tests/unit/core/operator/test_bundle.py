"""The code that travels to the nodes: the same bytes for the same code, and it works where nothing else is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayllm.cluster.bundle import build
from rayllm.errors import PluginError

PLUGIN = """
from rayllm import Engine, Environment, Options, hookimpl
from travelling.words import SUMMARY

@hookimpl
def rayllm_engines():
    yield Engine(name="far", summary=SUMMARY, options=Options, environment=Environment(()), commands=lambda _: [])
"""
DISCOVER = """
import json, sys
sys.path[:0] = sys.argv[1:]
import rayllm, pluggy
from rayllm.plugins import Plugins
found = Plugins.discover()
print(json.dumps({
    "engines": {name: engine.summary for name, engine in found.engines.items()},
    "infos": [(info.distribution, info.version, info.state, info.cause) for info in found.infos],
    "files": [rayllm.__file__, pluggy.__file__],
}))
"""


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin that is a package of two modules."""
    site = tmp_path / "site"
    package = site / "travelling"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "words.py").write_text("SUMMARY = 'from far away'\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/words.pyc").write_bytes(b"of this machine")
    info = site / "rayllm_engine_far-0.3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rayllm-engine-far\nVersion: 0.3.1\n")
    (info / "entry_points.txt").write_text(
        "[rayllm]\nengine-far = travelling\n[console_scripts]\nfar = elsewhere:main\n"
    )
    monkeypatch.syspath_prepend(site)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "travelling"]:
        del sys.modules[name]


def names(content: bytes) -> list[str]:
    """The files of a zip."""
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_the_same_code_gives_the_same_bytes(far: Path) -> None:
    """Whenever it is built; other code gives another name."""
    first, second = build(["rayllm-engine-far"]), build(["rayllm-engine-far", "rayllm-core"])
    assert first == second
    assert first.uri == f"gcs://{first.name}"
    (far / "words.py").touch()
    assert build(["rayllm-engine-far"]) == first
    (far / "words.py").write_text("SUMMARY = 'changed'\n")
    assert build(["rayllm-engine-far"]).name != first.name
    assert build([]).name != first.name


def test_what_is_in_it(far: Path) -> None:
    """The cluster's side, the plugin, pluggy, and what discovery reads; nothing of this machine."""
    found = names(build(["rayllm-engine-far"]).content)
    assert found == sorted(found)
    expected = {
        "rayllm/plugins.py",
        "rayllm/serving/replica.py",
        "pluggy/__init__.py",
        "travelling/words.py",
        "rayllm_engine_far-0.3.1.dist-info/entry_points.txt",
    }
    assert expected <= set(found)
    assert [name for name in found if "__pycache__" in name or name.startswith(("rayllm/cli", "rayllm/machine"))] == []
    assert {name.partition("/")[0].partition("-")[0] for name in found} == {
        "rayllm",
        "pluggy",
        "rayllm_core",
        "rayllm_engine_far",
        "travelling",
    }


def test_it_works_where_nothing_else_is(far: Path, tmp_path: Path) -> None:
    """A Python that has pydantic and no RayLLM finds the engine in the unpacked folder."""
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(io.BytesIO(build(["rayllm-engine-far"]).content)).extractall(folder)
    packages = sysconfig.get_path("purelib")
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", DISCOVER, str(folder), packages], capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    assert found["engines"]["far"] == "from far away"
    assert ["rayllm-engine-far", "0.3.1", "loaded", None] in found["infos"]
    assert all(file.startswith(str(folder)) for file in found["files"])


@pytest.mark.parametrize("name", ["fast.cpython-311-x86_64-linux-gnu.so", "fast.pyd", "fast.dylib"])
def test_compiled_code_is_refused(far: Path, name: str) -> None:
    """It would run on this machine and on no other kind."""
    (far / "inner").mkdir()
    (far / "inner" / name).write_bytes(b"\x7fELF")
    with pytest.raises(PluginError) as caught:
        build(["rayllm-engine-far"])
    assert str(caught.value) == (
        f"travelling holds compiled code (inner/{name}): a plugin's code has to run on any node\n"
        "  do     move it into the engine's environment\n  more   rayllm explain plugin"
    )


def test_a_plugin_that_is_one_module(far: Path) -> None:
    """It travels as a file."""
    (far.parent / "alone.py").write_text("")
    (far.parent / "rayllm_engine_far-0.3.1.dist-info/entry_points.txt").write_text("[rayllm]\nfar = alone:plugin\n")
    assert "alone.py" in names(build(["rayllm-engine-far"]).content)


def test_a_plugin_whose_files_are_gone(far: Path) -> None:
    """Its package, or all of it."""
    points = far.parent / "rayllm_engine_far-0.3.1.dist-info/entry_points.txt"
    points.write_text("[rayllm]\nfar = no_such_package\n")
    with pytest.raises(PluginError, match="the files of package no_such_package can't be found"):
        build(["rayllm-engine-far"])
    with pytest.raises(PluginError, match="the distribution rayllm-engine-gone is not installed"):
        build(["rayllm-engine-gone"])
