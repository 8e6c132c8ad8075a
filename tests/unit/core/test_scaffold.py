"""`rayllm plugins new`: what it makes, and what it refuses."""

from __future__ import annotations

import re
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

import rayllm
from rayllm import InputError, RayllmError
from rayllm.cluster.bundle import build
from rayllm.plugins import Plugins
from rayllm.scaffold import EDIT, LONGEST, core_range, make

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

NOBODY = Plugins.discover([], disabled="")
OFFERS = """
    from rayllm import Engine, Environment, Options, hookimpl

    @hookimpl
    def rayllm_engines():
        yield Engine(
            name="taken", summary="", options=Options, environment=Environment(()), commands=lambda launch: []
        )
"""


def files_of(folder: Path) -> dict[str, str]:
    """Text by path."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", EDIT)
def test_a_complete_distribution(kind: str, tmp_path: Path) -> None:
    """All that the result names is there, nothing else, and no placeholder is left."""
    made = make(kind, "my-demo", tmp_path, NOBODY)
    assert (made.distribution, made.package) == (f"rayllm-{kind}-my-demo", f"rayllm_{kind}_my_demo")
    assert [path.name for path in tmp_path.iterdir()] == [made.distribution]
    files = files_of(Path(made.folder))
    assert sorted(files) == list(made.files)
    assert {made.edit, "pyproject.toml", "README.md", ".gitignore", ".github/workflows/tests.yml"} <= set(files)
    assert {f"src/{made.package}/__init__.py", f"src/{made.package}/py.typed", "tests/test_plugin.py"} <= set(files)
    assert [name for name, text in files.items() if re.search(r"\{\{\w+\}\}|/package/", text)] == []
    assert "${{ matrix.python }}" in files[".github/workflows/tests.yml"]


@pytest.mark.parametrize("kind", EDIT)
@pytest.mark.parametrize("name", ["class", "json", "rayllm", "x", "a-1-b", "a" * LONGEST])
def test_discovery_loads_what_was_made(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the name is a word of Python or a module of its library."""
    from importlib.metadata import EntryPoint

    made = make(kind, name, tmp_path, NOBODY)
    monkeypatch.syspath_prepend(Path(made.folder) / "src")
    text = files_of(Path(made.folder))["pyproject.toml"]
    (line,) = re.findall(r"^\[project.entry-points.rayllm\]\n(.*)$", text, re.MULTILINE)
    assert line == f'{kind}-{name} = "{made.package}"'
    point = EntryPoint(name=f"{kind}-{name}", value=made.package, group="rayllm")
    (info,) = Plugins.discover([point], disabled="").infos
    for module in [module for module in sys.modules if module.partition(".")[0] == made.package]:
        del sys.modules[module]
    assert (info.state, info.offers) == ("loaded", (f"{kind} {name}",)), info.cause


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.9.3", ">=0.9,<0.10"),
        ("1.2.3", ">=1.2,<2"),
        ("0.2.0.dev3", ">=0.2.0.dev3,<0.3"),
        ("2.0rc1+local", ">=2.0rc1,<3"),
    ],
)
def test_the_range_of_core(version: str, wanted: str) -> None:
    """Holds the version that it was made with, and the next that may change what plugins see is out of it."""
    assert core_range(version) == wanted
    assert Requirement(f"rayllm-core{wanted}").specifier.contains(version, prereleases=True)


def test_the_range_is_that_of_the_installed_core(tmp_path: Path) -> None:
    """In the file that pip reads."""
    make("engine", "demo", tmp_path, NOBODY)
    text = (tmp_path / "rayllm-engine-demo/pyproject.toml").read_text()
    assert f'dependencies = ["rayllm-core{core_range(rayllm.__version__)}"]' in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "my-server would do"),
        ("Demo", "demo would do"),
        ("my_demo", "my-demo would do"),
        ("3d", "d would do"),
        ("a--b", "a-b would do"),
        ("../x", "x would do"),
        ("ä", "my-server would do"),
        ("demo\n", "demo would do"),
        ("no", "my-no would do"),
        ("null", "my-null would do"),
        ("a" * (LONGEST + 1), f"at most {LONGEST}"),
    ],
)
def test_a_bad_name(name: str, told: str, tmp_path: Path) -> None:
    """Is refused with one that would do, and nothing is made."""
    with pytest.raises(InputError) as caught:
        make("engine", name, tmp_path, NOBODY)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_another_kind(tmp_path: Path) -> None:
    """There are three."""
    with pytest.raises(InputError) as caught:
        make("engin", "demo", tmp_path, NOBODY)
    assert str(caught.value) == (
        '"engin" is no kind of plugin; did you mean "engine"?\n  do     one of engine, backend, source'
    )


def test_a_name_that_is_offered(site: Site, tmp_path: Path) -> None:
    """By an installed plugin, whatever that is called; a broken one keeps its name, too."""
    site.add("engine-other", OFFERS)
    site.add("engine-sick", "raise OSError")
    plugins = Plugins.discover(site.points(), disabled="")
    with pytest.raises(InputError) as caught:
        make("engine", "taken", tmp_path, plugins)
    assert caught.value.message == (
        'the installed plugin engine-other (rayllm-engine-other 0.3.1) offers engine "taken"'
    )
    with pytest.raises(InputError) as caught:
        make("engine", "sick", tmp_path, plugins)
    assert caught.value.message == (
        'the installed plugin engine-sick (rayllm-engine-sick 0.3.1) is called after engine "sick"'
    )
    assert make("source", "taken", tmp_path, plugins).name == "taken"


def test_cores_own_names(tmp_path: Path) -> None:
    """Are offered wherever core is installed."""
    with pytest.raises(InputError, match='offers source "hf"'):
        make("source", "hf", tmp_path, Plugins.discover(disabled="*"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder with something in it, a file, a link to nowhere; an empty folder is filled."""
    place = tmp_path / "rayllm-engine-demo"
    place.mkdir()
    make("engine", "demo", tmp_path, NOBODY)
    (place / "README.md").write_text("mine")
    before = files_of(place)
    for into in (tmp_path, tmp_path / "file", tmp_path / "link"):
        into.mkdir(exist_ok=True)
    (tmp_path / "file/rayllm-engine-demo").write_text("mine")
    (tmp_path / "link/rayllm-engine-demo").symlink_to("/nowhere")
    for into in (tmp_path, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(InputError, match="rayllm-engine-demo is there already"):
            make("engine", "demo", into, NOBODY)
        assert not [path.name for path in into.iterdir() if path.name.startswith(".")]
    assert files_of(place) == before


def test_somebody_else_makes_it_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs stays."""
    there = tmp_path / "rayllm-engine-demo"
    rename = Path.rename

    def quicker(draft: Path, place: Path) -> Path:
        there.mkdir()
        (there / "mine").touch()
        return rename(draft, place)

    monkeypatch.setattr(Path, "rename", quicker)
    with pytest.raises(InputError, match="is there already"):
        make("engine", "demo", tmp_path, NOBODY)
    assert [path.name for path in tmp_path.rglob("*")] == ["rayllm-engine-demo", "mine"]


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is the system's, and no half of it is left."""
    (tmp_path / "file").touch()
    with pytest.raises(RayllmError, match="can't be written") as caught:
        make("engine", "demo", tmp_path / "file", NOBODY)
    assert caught.value.cause == "Not a directory"
    write = Path.write_text

    def full(path: Path, text: str, encoding: str) -> int:
        if path.name == "server.py":
            raise OSError(28, "No space left on device")
        return write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RayllmError) as caught:
        make("engine", "demo", tmp_path, NOBODY)
    assert caught.value.cause == "No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_templates_stay_here() -> None:
    """No node needs them."""
    names = zipfile.ZipFile(BytesIO(build([]).content)).namelist()
    assert [name for name in names if "scaffold" in name or name.endswith(".tmpl")] == []
