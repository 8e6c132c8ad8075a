"""The backend `local` against the rules for backends, with real Ray."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rayllm.testing import BackendConformance, Platform


class ThisMachine(Platform):
    """Seen through `/proc`, and through the files in the home that the clusters' processes were given."""

    options: Mapping[str, Any] = {"cpus": 1}
    other_options: Mapping[str, Any] = {"cpus": 2}  # which a cluster that runs refuses

    def __init__(self) -> None:
        self._home = Path()

    def made(self, name: str) -> Collection[str]:
        """Whether there are processes, files that say what runs, and a folder of Ray's."""
        processes = [environ for environ in environs() if environ.get("RAYLLM_OWNER", "").startswith(f"local:{name}:")]
        for environ in processes:
            if home := environ.get("RAYLLM_HOME"):  # Ray's title for a process lies over part of its environment
                self._home = Path(home)
        folder = self._home / "clusters" / name
        state = folder / "state.json"
        left = [path for path in folder.glob("*") if path.name != "logs"]  # these stay, to be read
        temp = Path(json.loads(state.read_text())["temp_dir"]) if state.exists() else None
        seen = {"processes": processes, "files": left, "Ray's folder": temp and temp.exists()}
        return [word for word, there in seen.items() if there]

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        """Ray can't keep its state; the next start clears that away."""
        assert self._home.is_absolute(), "no cluster has run before"
        storage = self._home / "clusters" / name / "gcs"
        storage.parent.mkdir(parents=True)
        storage.write_text("a file where Ray wants a folder")
        yield

    def secret(self, name: str, secret: str) -> tuple[str, int] | None:  # noqa: ARG002  one home for all
        """In the home that the clusters share."""
        file = self._home / "secrets" / secret
        return (file.read_text(), file.stat().st_mode & 0o777) if file.exists() else None


def environs() -> Iterator[dict[str, str]]:
    """The environment of every process that can be looked into."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            words = (process / "environ").read_bytes().decode(errors="replace").split("\0")
            yield dict(word.partition("=")[::2] for word in words)


class TestLocal(BackendConformance):
    """Every rule, with a handful of real starts."""

    backend = "local"
    slow_start = True
    bound_s = 120
    platform_calls = (
        "rayllm_backend_local.backend.write_private",
        "rayllm_backend_local.backend._launch",
        "rayllm_backend_local.leftovers.sweep",
        "rayllm.serving.ray_dashboard.answers",
    )

    @pytest.fixture(scope="class")
    @classmethod
    def platform(cls) -> ThisMachine:
        """Nothing to set up."""
        return ThisMachine()
