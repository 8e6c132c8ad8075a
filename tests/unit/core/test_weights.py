"""From a source to a folder: fetched, checked, and converted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rayllm import InputError, ModelSource, RayllmError
from rayllm.serving.weights.ensure import ensure_weights, source_of
from rayllm.serving.weights.sources import FILE, PACKAGE

EMPTY_GGUF = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)
"""A whole file, without tensors."""
CONVERTER = """#!/bin/sh
if [ "$1" = -c ]; then echo {version}; exit; fi
echo "reading the weights"
echo run >> {folder}/runs
{body}
"""


@dataclass
class Plugins:
    """As much of the plugins as is asked for."""

    sources: dict[str, ModelSource] = field(default_factory=lambda: {"file": FILE, "package": PACKAGE})


@dataclass
class Engine:
    """An engine's Python that is a shell script: says which transformers it has, and "converts"."""

    folder: Path

    def python(self, body: str = 'mkdir "$3" && cp "$2" "$3/config.json"', version: str = "5.0") -> str:
        """Path of the script; `body` is run for a conversion."""
        path = self.folder / "python"
        path.write_text(CONVERTER.format(folder=self.folder, body=body, version=version))
        path.chmod(0o700)
        return str(path)

    def runs(self) -> int:
        """How often it converted."""
        log = self.folder / "runs"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine in a folder of its own, with a RAYLLM_HOME beside it."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    return Engine(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GGUF file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(EMPTY_GGUF)
    return path


def silent(detail: str) -> None:
    """Report to nobody."""


def test_a_folder_is_taken_as_it_is(engine: Engine, tmp_path: Path) -> None:
    """Nothing runs, nothing is copied."""
    assert ensure_weights(str(tmp_path), Plugins(), engine.python(), silent) == tmp_path
    assert engine.runs() == 0


def test_a_gguf_file_is_converted_once(engine: Engine, model: Path) -> None:
    """The second call takes the folder; the steps of the first are reported."""
    told: list[str] = []
    folder = ensure_weights(str(model), Plugins(), engine.python(), told.append)
    assert (folder / "config.json").read_bytes() == EMPTY_GGUF
    assert told == ["converting m.gguf", "converting m.gguf: reading the weights"]
    assert ensure_weights(f"file:{model}", Plugins(), engine.python(), silent) == folder
    assert engine.runs() == 1


def test_other_content_or_another_converter_converts_again(engine: Engine, model: Path) -> None:
    """The folder is named by both, so neither gets the other's."""
    folders = {ensure_weights(str(model), Plugins(), engine.python(), silent)}
    folders.add(ensure_weights(str(model), Plugins(), engine.python(version="5.1"), silent))
    model.write_bytes(EMPTY_GGUF + b"x")
    folders.add(ensure_weights(str(model), Plugins(), engine.python(), silent))
    assert len(folders) == engine.runs() == 3


def test_what_a_killed_conversion_left_is_not_taken(engine: Engine, model: Path) -> None:
    """A draft from earlier is thrown away, and the folder is whole."""
    folder = ensure_weights(str(model), Plugins(), engine.python(), silent)
    draft = folder.rename(folder.with_name(f".{folder.name}.draft"))
    (draft / "half").touch()
    assert ensure_weights(str(model), Plugins(), engine.python(), silent) == folder
    assert [path.name for path in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("body", "cause", "cure"),
    [
        ("echo 'ImportError: No module named gguf'; exit 1", "No module named gguf", "gguf and accelerate"),
        ("echo 'OSError: No space left on device'; exit 1", "No space left", "RAYLLM_HOME"),
        (
            "printf 'Traceback (most recent):\\n  File x\\nValueError: architecture foo is not supported\\n'; exit 1",
            "reading the weights\nValueError: architecture foo is not supported",
            "Hugging Face",
        ),
        ("kill -9 $$", "reading the weights", "memory"),
    ],
)
def test_a_failed_conversion(engine: Engine, model: Path, body: str, cause: str, cure: str) -> None:
    """The converter's last lines and what to do; the next call tries again."""
    with pytest.raises(RayllmError, match=r"m\.gguf could not be converted") as caught:
        ensure_weights(str(model), Plugins(), engine.python(body), silent)
    assert cause in str(caught.value.cause)
    assert cure in str(caught.value.cure)
    assert ensure_weights(str(model), Plugins(), engine.python(), silent).is_dir()


def test_an_environment_without_a_converter(engine: Engine, model: Path) -> None:
    """Told before anything is tried."""
    with pytest.raises(RayllmError, match="no transformers"):
        ensure_weights(str(model), Plugins(), engine.python(version=""), silent)


def test_a_broken_file_is_not_converted(engine: Engine, model: Path) -> None:
    """Checked first: the converter's own errors say little."""
    model.write_bytes(EMPTY_GGUF[:-1])
    with pytest.raises(InputError, match="is not a whole GGUF file"):
        ensure_weights(str(model), Plugins(), engine.python(), silent)
    assert engine.runs() == 0


def test_no_room_for_a_conversion(engine: Engine, model: Path) -> None:
    """Two bytes a weight; a petabyte of them is told before anything is converted."""
    name, shape = b"t", 2**50
    tensor = len(name).to_bytes(8, "little") + name + (1).to_bytes(4, "little") + shape.to_bytes(8, "little")
    unknown_type, offset = (99).to_bytes(4, "little"), bytes(8)
    header = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8)
    model.write_bytes(header + tensor + unknown_type + offset + bytes(32))
    with pytest.raises(RayllmError, match=r"no room for what m\.gguf is converted to: 2252 TB needed"):
        ensure_weights(str(model), Plugins(), engine.python(), silent)
    assert engine.runs() == 0


def test_other_files(engine: Engine, tmp_path: Path) -> None:
    """A file of another kind is no model."""
    (tmp_path / "m.bin").touch()
    with pytest.raises(InputError, match="neither a folder"):
        ensure_weights(str(tmp_path / "m.bin"), Plugins(), engine.python(), silent)


def test_which_source_fetches() -> None:
    """By scheme; a path needs none; an unknown one is told with those that are there."""
    sources = Plugins().sources
    assert source_of("/models/a:b", sources) is FILE
    assert source_of("package:a/b", sources) is PACKAGE
    with pytest.raises(InputError, match="no installed plugin knows 'hf:'") as caught:
        source_of("hf://a/b", sources)
    assert "file:, package:" in str(caught.value.cure)
