"""A folder of wheels, filled where there is an index and used where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.core.test_builds_from_wheels import CPU, silent, versioned
from tests.wheels import wheel

from rayllm import RayllmError
from rayllm.machine.downloading import download
from rayllm.plugins import Plugins
from rayllm.serving.prepare import wheelhouse
from rayllm.serving.prepare.environments import ensure_environment

TOUCHED = ("UV_FIND_LINKS", "PIP_FIND_LINKS", "RAYLLM_OFFLINE", "UV_OFFLINE", "PIP_NO_INDEX", "UV_DEFAULT_INDEX")


def test_a_wheelhouse_is_filled_and_serves_without_an_index(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned version and another; what is missing in it is named, with what to do."""
    for version in ("1.0", "2.0"):
        wheel(wheels, "tiny_engine", version, {"tiny_engine.py": b""}, requires=("tiny-part", "tiny-cuda"))
    for name in ("tiny_part", "tiny_reader"):
        wheel(wheels, name, "1.0", {f"{name}.py": b""})
    plugins = Plugins.discover([], disabled="")
    plugins.engines["tiny"] = versioned()
    house, told = tmp_path / "house", list[str]()
    found = download(plugins, "tiny", "cpu", house, told.append)
    assert [file.name for file in found] == ["tiny_engine-2.0-py3-none-any.whl"]
    found = download(plugins, "tiny", "cpu", house, told.append, version="1")
    assert [file.name.rsplit("-", 3)[0] for file in found] == [
        "tiny_engine-1.0",
        "tiny_engine-2.0",
        "tiny_part-1.0",
        "tiny_reader-1.0",
    ]
    with pytest.raises(RayllmError, match="uv pip compile failed"):
        download(plugins, "tiny", "cpu", house, told.append, version="3")

    for name in TOUCHED:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    wheelhouse.use({"find_links": [str(house)], "offline": True})
    for asked in (None, "1"):
        assert Path(ensure_environment(versioned(), "auto", CPU, silent, version=asked)).exists()
    (house / "tiny_part-1.0-py3-none-any.whl").unlink()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "a-third-cache"))
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "another-home"))
    with pytest.raises(RayllmError) as caught:
        ensure_environment(versioned(), "auto", CPU, silent, version="1")
    assert "tiny-part" in str(caught.value.cause)
