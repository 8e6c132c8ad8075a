"""A disk that is full, for real: RAYLLM_HOME on a small tmpfs, in a mount namespace of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.core.s3_store import KEY, SECRET, S3Store
from tests.wheels import wheel

from rayllm.testing.fake_hub import FakeHub, FakeRepo

SIZE = 4 << 20
NAMESPACE = ["unshare", "--map-root-user", "--mount"]
IN_NAMESPACE = 'mount -t tmpfs -o size={size} none "$RAYLLM_HOME" && exec "$@"'
SAY = """
import os, sys
from rayllm import Command, Device, Engine, Environment, Options, RayllmError
from rayllm.builtin import rayllm_model_sources
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.weights.ensure import ensure_weights

class Plugins:
    sources = {source.scheme: source for source in rayllm_model_sources()}

def report(detail):
    if detail.split()[0] in sys.argv:  # as when others fill the disk meanwhile
        with open(os.environ["RAYLLM_HOME"] + "/others", "wb", buffering=0) as others:
            while others.write(bytes(65536)) == 65536:
                pass

needs = Environment(["big-engine==1.0"], disk=9_000_000 if "known" in sys.argv else 0)
engine = Engine(name="big", summary="", options=Options, environment=needs, commands=lambda _: [Command()])
try:
    if sys.argv[1] == "environment":
        ensure_environment(engine, "auto", Device(kind="cpu"), report)
    else:
        ensure_weights(sys.argv[1], Plugins(), sys.executable, report)
except RayllmError as error:
    print(error)
"""


def said(home: Path, *arguments: str, size: int = SIZE) -> list[str]:
    """The lines of the error where RAYLLM_HOME has `size` bytes.

    The first argument says what is wanted, the second when the disk fills up: at the report that begins so.
    """
    home.mkdir(exist_ok=True)
    argv = [*NAMESPACE, "sh", "-c", IN_NAMESPACE.format(size=size), "sh", sys.executable, "-c", SAY, *arguments]
    environ = {**os.environ, "RAYLLM_HOME": str(home)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _may_mount() -> None:
    """A container may forbid it."""
    tried = subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"no file system may be mounted here: {tried.stderr.strip()}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one model of 8 MB."""
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "m.safetensors": bytes(8_000_000)}
    with FakeHub({"org/big": FakeRepo(files)}) as made:
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made


def test_no_room_for_weights(tmp_path: Path, hub: FakeHub) -> None:
    """Told before a byte is loaded, with both numbers and what to do."""
    lines = said(tmp_path / "home", "hf://org/big")
    assert lines[0].startswith("no room for the weights of org/big: 8.0 MB needed, 4.2 MB free at ")
    assert "free some space there, or set RAYLLM_HOME to another disk" in lines[1]
    assert hub.ranges() == []


def test_no_room_for_weights_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with S3Store() as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        store.put({"big/config.json": b"{}", "big/tokenizer.json": b"{}", "big/m.safetensors": bytes(8_000_000)})
        lines = said(tmp_path / "home", "s3://models/big")
        assert lines[0].startswith("no room for the weights of models/big: 8.0 MB needed, 4.2 MB free at ")
        assert "free some space there, or set RAYLLM_HOME to another disk" in lines[1]
        assert store.ranges() == []


def test_a_disk_that_fills_up_while_weights_come(tmp_path: Path, hub: FakeHub) -> None:
    """The system's own words, and how much is missing."""
    hub.faults.block_s = 0.005
    lines = said(tmp_path / "home", "hf://org/big", "0", size=3 * SIZE)
    assert re.fullmatch(r"the disk is full, with \d\.\d MB of org/big still missing", lines[0])
    assert "No space left on device" in lines[1]
    assert lines[2].startswith("do     free some space in RAYLLM_HOME")


def test_no_space_at_all(tmp_path: Path, hub: FakeHub) -> None:
    """Not even for the list of the files."""
    lines = said(tmp_path / "home", "hf://org/big", "asking")
    assert lines[0] == f"no space is left for RayLLM's folder {tmp_path / 'home'}"
    assert lines[1] == "cause  No space left on device"


def test_no_room_for_an_environment(tmp_path: Path, wheels: Path) -> None:
    """Told before the build where the engine's plugin says what it takes, else in uv's words."""
    wheel(wheels, "big_engine", "1.0", {"big_engine.py": b"#" * 9_000_000})
    lines = said(tmp_path / "home", "environment", "known")
    assert lines[0].startswith("no room for the environment big-cpu-")
    assert ": 9.0 MB needed, 4.2 MB free at " in lines[0]
    lines = said(tmp_path / "home", "environment")
    assert lines[0] == "uv pip install failed"
    assert any("No space left on device" in line for line in lines[1:])
    assert any(line.startswith("do     free some disk space") for line in lines)
