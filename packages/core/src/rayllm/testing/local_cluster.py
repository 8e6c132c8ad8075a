"""A fixture for the tests of plugins: a deployment on this machine, with real Ray behind it.

In `tests/conftest.py`: `from rayllm.testing.local_cluster import local_cluster  # noqa: F401`. It needs the backend
`local`.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rayllm import RayLLM

_NAME = "plugin-test"


class LocalCluster:
    """A cluster of the tests' own, with a RayLLM home of its own: whatever else runs on this machine is left alone."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "rayllm.yaml"
        self._llm: RayLLM | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def serve(self, models: Mapping[str, Mapping[str, Any]]) -> RayLLM:
        """Serve these models and no others, and wait until each has answered a first prompt.

        Args:
            models: what would stand under `models:` in a file.

        Returns:
            The deployment: `serve({…}).openai()` is a client of it.

        Raises:
            RayllmError: a model is described wrongly, or does not come up.
        """
        told = {"name": _NAME, "models": {name: dict(model) for name, model in models.items()}}
        self._file.write_text(yaml.safe_dump({**told, "gateway": {"port": self._port}}), encoding="utf-8")
        self._llm = RayLLM.from_file(self._file)
        self._llm.up()
        return self._llm

    def stop(self) -> None:
        """Take everything down that was served; nothing is no error."""
        if self._llm:
            self._llm.down()


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """Started by the first `serve`, gone when the tests are through."""
    with tempfile.TemporaryDirectory(prefix="rl-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYLLM_HOME", folder)  # short, since the paths of Unix sockets are
        cluster = LocalCluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.stop()
