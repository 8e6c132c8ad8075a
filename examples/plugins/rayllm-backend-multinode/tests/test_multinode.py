"""The backend `multinode` against the rules for backends, with a `ray start` that leaves small processes behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import rayllm_backend_multinode

from rayllm import ClusterError, ClusterSpec
from rayllm.testing import BackendConformance, Platform

RAY_START = '''
import os
import subprocess
import sys
from pathlib import Path

NODE = """
import os, sys, threading
from rayllm.testing.fake_dashboard import FakeDashboard

class Dashboard(FakeDashboard):
    def server_bind(self):
        self.server_address = ("127.0.0.1", int(sys.argv[2]))
        super().server_bind()

if int(sys.argv[2]):
    Dashboard(os.environ["RAY_AUTH_TOKEN"])
os.write(1, b"!")
os.close(1)
threading.Event().wait(600)
"""
flags = dict(word.partition("=")[::2] for word in sys.argv[1:])
place = Path(flags["--temp-dir"]).parent.name
if any(f"-{broken.name}-" in place for broken in Path(os.environ["STAND_IN"]).iterdir()):
    sys.exit("ConnectionError: no more nodes today")
argv = [sys.executable, "-c", NODE, "raylet/raylet", flags.get("--dashboard-port", "0")]
assert subprocess.Popen(argv, stdout=subprocess.PIPE).stdout.read(1)
'''


class Machine(Platform):
    """This machine, where the stand-in for Ray fails for the clusters that have a file in `broken_ones`."""

    options: Mapping[str, Any] = {"workers": 1, "cpus": 1}
    other_options: Mapping[str, Any] = {"workers": 0, "cpus": 1}

    def __init__(self, broken_ones: Path) -> None:
        self._broken_ones = broken_ones

    def made(self, name: str) -> Collection[str]:
        """Its folder in /tmp, and every process that works there."""
        places = self._places(name)
        return ["folder" for _ in places] + ["process" for place in places for _ in self._processes(place)]

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        """No node of this cluster starts."""
        (self._broken_ones / name).touch()
        try:
            yield
        finally:
            (self._broken_ones / name).unlink()

    def secret(self, name: str, secret: str) -> tuple[str, int] | None:
        """In the home that the nodes were told."""
        processes = [process for place in self._places(name) for process in self._processes(place)]
        homes = {_home_of(process) for process in processes}
        files = [Path(home, "secrets", secret) for home in homes]
        return next(((file.read_text(), file.stat().st_mode & 0o777) for file in files), None)

    def _places(self, name: str) -> list[Path]:
        return list(Path("/tmp").glob(f"rayllm-{name}-*"))  # noqa: S108  where the plugin has them

    def _processes(self, place: Path) -> list[Path]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if (process / "cwd").readlink().is_relative_to(place):
                    found.append(process)
        return found


def _home_of(process: Path) -> str:
    """The RAYLLM_HOME of a process."""
    words = (process / "environ").read_text().split("\0")
    return next(word.partition("=")[2] for word in words if word.startswith("RAYLLM_HOME="))


class TestMultinode(BackendConformance):
    """Every rule."""

    backend = "multinode"
    platform_calls = (
        "rayllm_backend_multinode.write",
        "rayllm_backend_multinode.start",
        "rayllm_backend_multinode.clear",
    )

    @pytest.fixture(scope="class")
    @classmethod
    def platform(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
        """The machine, with a Ray of its own that Python finds first."""
        folder = tmp_path_factory.mktemp("ray")
        package = folder / "path" / "ray" / "scripts"
        package.mkdir(parents=True)
        (package / "scripts.py").write_text(RAY_START)
        for init in (package, package.parent):
            (init / "__init__.py").touch()
        broken_ones = folder / "broken"
        broken_ones.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder / "path"))
            patch.setenv("STAND_IN", str(broken_ones))
            yield Machine(broken_ones)


def test_a_cluster_with_other_cpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do; nothing is started or ended."""
    (tmp_path / "record").write_text('["a-token", 20000, 4]')
    for name, found in {"place": tmp_path, "home": tmp_path, "raylets": [1]}.items():
        monkeypatch.setattr(rayllm_backend_multinode, name, lambda *_, found=found: found)
    backend = rayllm_backend_multinode.Multinode(rayllm_backend_multinode.MultinodeOptions(cpus=2))
    spec = ClusterSpec(name="demo", gateway_host="127.0.0.1", gateway_port=8000)
    with pytest.raises(ClusterError, match="other cpus") as caught:
        backend.ensure(spec, quiet)
    assert caught.value.cure == "rayllm down, then rayllm up"


def quiet(step: str, detail: str, *, done: bool = False) -> None:
    """Nobody looks on."""
