"""The code that travels to the nodes: the same bytes for the same code, and it works where nothing else is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tests.distributions import KINDS, Site

from rayllm.cluster.bundle import build
from rayllm.errors import PluginError

FAR = "rayllm-engine-far"
PLUGIN = """
from rayllm import Engine, Environment, Options, hookimpl
from travelling.words import SUMMARY

@hookimpl
def rayllm_engines():
    yield Engine(name="far", summary=SUMMARY, options=Options, environment=Environment(()), commands=lambda _: [])
"""
CODE: dict[str, str | bytes] = {
    "travelling/__init__.py": PLUGIN,
    "travelling/words.py": "SUMMARY = 'from far away'\n",
    "travelling/templates/chat.jinja": "{{ messages }}",
    "travelling/flags.json": "[]",
    "travelling_too/__init__.py": "",
}
LEFT: dict[str, str | bytes] = {
    "travelling/__pycache__/words.cpython-311.pyc": b"of this machine",
    "travelling/tests/test_words.py": "",
    "travelling/.ruff_cache/1": "",
    "tests/test_all.py": "",
}
"""What is none of it, and lies there all the same."""
POINT = "engine-far = travelling"
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


def names(content: bytes) -> list[str]:
    """The files of a zip."""
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def theirs(*distributions: str) -> set[str]:
    """What travels beside core and pluggy, without metadata."""
    found = names(build(distributions).content)
    return {name for name in found if not name.startswith(("rayllm/", "pluggy/")) and ".dist-info/" not in name}


@pytest.fixture
def far(installed: Site) -> Path:
    """A plugin from a wheel, in the folder that is returned."""
    return installed.install("wheel", FAR, {**CODE, **LEFT}, POINT)


def test_the_same_code_gives_the_same_bytes(far: Path) -> None:
    """Whenever it is built; other code gives another name."""
    first, second = build([FAR]), build(["rayllm_engine_far", "rayllm-core"])
    assert first == second
    assert first.uri == f"gcs://{first.name}"
    (far / "travelling/words.py").touch()
    assert build([FAR]) == first
    (far / "travelling/words.py").write_text("SUMMARY = 'changed'\n")
    assert build([FAR]).name != first.name
    assert build([]).name != first.name


@pytest.mark.parametrize("kind", KINDS)
def test_it_travels_however_it_is_installed(installed: Site, kind: str) -> None:
    """All packages and data files of the distribution, from a wheel or editable; no tests, no caches."""
    installed.install(kind, FAR, {**CODE, **LEFT}, POINT)
    assert theirs(FAR) == CODE.keys()
    assert build([FAR]).name == build([FAR]).name


def test_each_kind_of_install_gives_the_same_bytes(tmp_path: Path, installed: Site) -> None:
    """A colleague who has the wheel and one who works on the sources plan no change."""
    path, hooks, packages = list(sys.path), list(sys.meta_path), set[str]()
    for kind in KINDS:
        Site(tmp_path / kind, tmp_path / f"projects of {kind}").install(kind, FAR, {**CODE, **LEFT}, POINT)
        packages.add(build([FAR]).name)
        sys.path[:], sys.meta_path[:] = path, hooks
    assert len(packages) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_that_is_one_module(installed: Site, kind: str) -> None:
    """It travels as a file."""
    installed.install(kind, FAR, {"alone.py": "plugin = 1\n"}, "engine-far = alone:plugin")
    assert theirs(FAR) == {"alone.py"}


@pytest.mark.parametrize("kind", ["wheel", "source folder", "project folder", "unrecorded"])
def test_a_plugin_in_a_namespace(tmp_path: Path, installed: Site, kind: str) -> None:
    """Only its own part of a package that many distributions share."""
    files = {"acme/far/__init__.py": "", "acme/far/words.py": ""}
    installed.install(kind, FAR, files, "engine-far = acme.far.words")
    other = Site(tmp_path / "other", tmp_path / "projects")
    other.install("wheel", "acme-other", {"acme/other/__init__.py": ""})
    assert theirs(FAR) == files.keys()


def test_a_plugin_that_registers_a_module_of_core(installed: Site) -> None:
    """It brings nothing but its entry point."""
    installed.install("wheel", FAR, {}, "engine-far = rayllm.testing.fake_engine")
    assert theirs(FAR) == set()
    assert "rayllm_engine_far-0.3.1.dist-info/entry_points.txt" in names(build([FAR]).content)


def test_what_is_in_it(far: Path) -> None:
    """The cluster's side, the plugin, pluggy, and what discovery reads; nothing of the operator's side."""
    found = names(build([FAR]).content)
    assert found == sorted(found)
    expected = {"rayllm/plugins.py", "rayllm/serving/replica.py", "rayllm/testing/fake_server.py", "pluggy/__init__.py"}
    assert {*expected, "rayllm_engine_far-0.3.1.dist-info/entry_points.txt", *CODE} <= set(found)
    left_out = ("rayllm/cli/", "rayllm/scaffold/")
    assert [name for name in found if "__pycache__" in name or name.startswith(left_out)] == []
    tops = {"rayllm", "pluggy", "rayllm_core", "rayllm_engine_far", "travelling", "travelling_too"}
    assert {name.partition("/")[0].partition("-")[0] for name in found} == tops


def test_its_versions(far: Path) -> None:
    """Core's and the plugin's, by distribution."""
    versions = build([FAR]).versions
    assert list(versions) == ["rayllm-core", FAR]
    assert versions[FAR] == "0.3.1"


def test_it_works_where_nothing_else_is(far: Path, tmp_path: Path) -> None:
    """A Python that has pydantic and no RayLLM finds the engine in the unpacked folder."""
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(io.BytesIO(build([FAR]).content)).extractall(folder)
    packages = sysconfig.get_path("purelib")
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", DISCOVER, str(folder), packages], capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    assert found["engines"]["far"] == "from far away"
    assert [FAR, "0.3.1", "loaded", None] in found["infos"]
    assert all(file.startswith(str(folder)) for file in found["files"])


@pytest.mark.parametrize(
    "name",
    [
        *("travelling/inner/fast.cpython-311-x86_64-linux-gnu.so", "travelling/fast.pyd", "travelling/fast.dylib"),
        *("travelling.libs/libfast-1a2b.so.1.2", "travelling/bin/tool", "travelling/tests/fast.so"),
    ],
)
@pytest.mark.parametrize("kind", ["wheel", "source folder"])
def test_compiled_code_is_refused(installed: Site, kind: str, name: str) -> None:
    """Anywhere in what it installs, whatever it is called: it would run on this machine and on no other kind."""
    installed.install(kind, FAR, {**CODE, name: b"\x7fELF..."}, POINT)
    with pytest.raises(PluginError) as caught:
        build([FAR])
    assert str(caught.value) == (
        f"rayllm-engine-far 0.3.1 can't be sent to the nodes: it holds compiled code ({name})\n"
        "  cause  a node may have another system, processor or Python; only pure Python travels\n"
        "  do     put it into a distribution of its own, and name that in the engine's `environment`\n"
        "  more   rayllm explain plugin-code"
    )


def test_a_plugin_whose_files_are_gone(far: Path) -> None:
    """A file of it, its module, or all of it."""
    (far / "travelling/words.py").unlink()
    with pytest.raises(
        PluginError, match=r"the files of rayllm-engine-far 0\.3\.1 can't be found\n.*words\.py: No such"
    ):
        build([FAR])
    with pytest.raises(PluginError, match="the distribution rayllm-engine-gone is not installed"):
        build(["rayllm-engine-gone"])


def test_a_module_that_cannot_be_found(installed: Site) -> None:
    """An entry point that names nothing."""
    installed.install("unrecorded", FAR, {}, "far = no_such_package")
    with pytest.raises(PluginError, match=r"can't be found\n  cause  no module no_such_package"):
        build([FAR])
