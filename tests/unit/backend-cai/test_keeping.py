"""The keeper's process, as the head's supervisor looks after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import until

from rayllm_backend_cai.node import keeping
from rayllm_backend_cai.node.keeping import Keeping
from rayllm_backend_cai.node.pod import Pod

ONCE = """#!/bin/sh
echo "$*" >> started
env > environment
[ -e stay ] && exec sleep 60
exit 3
"""


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    """A head's, in whose folder a script stands for the keeper."""
    program = tmp_path / "python"
    program.write_text(ONCE)
    program.chmod(0o755)
    monkeypatch.setattr(keeping, "PROGRAM", str(program))
    monkeypatch.setattr(keeping, "PAUSE_S", 0.3)
    monkeypatch.setattr(Pod, "local", tmp_path)
    told = {"task": "head", "cluster": "llm", "node": "llm", "group": "", "engine": "e1", "address": "127.0.0.9"}
    return Pod(**told, home=tmp_path / "home", ports=())


def test_it_alone_gets_the_key_and_it_is_started_again_after_a_pause(pod: Pod) -> None:
    """It ends when its work can't be done, or when another head has started."""
    kept = Keeping(pod, {"CDSW_APIV2_KEY": "a-key", "PATH": "/usr/bin:/bin"})
    started = pod.local / "started"

    def ticked(times: int) -> bool:
        kept.tick()
        return started.exists() and len(started.read_text().splitlines()) >= times

    until("it is started", lambda: ticked(1), 10)
    until("it is started again", lambda: ticked(2), 10)
    kept.stop()
    environment = dict(line.split("=", 1) for line in (pod.local / "environment").read_text().splitlines())
    assert environment["CDSW_APIV2_KEY"] == "a-key"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(pod.token)
    assert "a-key" not in started.read_text()


def test_it_ends_with_the_head(pod: Pod) -> None:
    """And only one runs."""
    (pod.local / "stay").touch()
    kept = Keeping(pod, {"PATH": "/usr/bin:/bin"})
    kept.tick()
    until("it runs", (pod.local / "environment").exists, 10)
    kept.tick()
    kept.stop()
    assert (pod.local / "started").read_text() == "-u -m rayllm_backend_cai.node.keeper_main\n"
