"""The keeper's own program, where it can't begin: it says so where the operator looks, and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayllm_backend_cai.shared import CLUSTER, NODE, TASK, HeadRecord, KeeperRecord, keeper_file

HERE = "127.0.0.9"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Of a head's pod."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CML_", "CDSW_"))},
        "RAYLLM_HOME": str(tmp_path),
        TASK: "head",
        CLUSTER: "llm",
        NODE: "llm",
        "CDSW_ENGINE_ID": "e1",
        "CDSW_IP_ADDRESS": HERE,
        "CDSW_DOMAIN": "localhost:1",
        "CDSW_PROJECT_URL": "http://localhost:1/p",
        "CDSW_APIV2_KEY": "a-secret-key",
    }


def run(environ: dict[str, str]) -> int:
    """Run it; returns its exit status."""
    command = [sys.executable, "-m", "rayllm_backend_cai.node.keeper_main"]
    done = subprocess.run(command, env=environ, timeout=60, capture_output=True, text=True, check=False)
    assert "a-secret-key" not in done.stdout + done.stderr
    return done.returncode


def test_without_a_key_the_record_says_so(environ: dict[str, str], tmp_path: Path) -> None:
    """As where API v2 is off."""
    del environ["CDSW_APIV2_KEY"]
    assert run(environ) == 1
    record = KeeperRecord.read(keeper_file(tmp_path / "clusters/llm"))
    assert record
    assert "no API key" in record.trouble
    assert record.stuck
    assert record.events[-1].text == record.trouble


def test_it_does_nothing_where_another_pod_is_the_head(environ: dict[str, str], tmp_path: Path) -> None:
    """Of two heads one keeps the workers."""
    folder = tmp_path / "clusters/llm"
    HeadRecord(epoch="e", address="127.0.0.10", gcs_port=1, serve_port=1, since=0).write(folder / "head.json")
    assert run(environ) == 1
    assert "this pod is not the head" in (folder / "logs/llm/keeper.log").read_text()
    assert not keeper_file(folder).exists()
