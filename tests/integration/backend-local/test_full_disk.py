"""A local cluster whose disk is small or full: a real one, mounted where nobody else sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
SMALL = """
import os, subprocess, sys
os.environ["RAYLLM_HOME"] = home = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sys.argv[2]}", "tmpfs", home], check=True)
sys.path.insert(0, sys.argv[3])
from conftest import Local
from rayllm import RayllmError
local = Local("tight", nodes=1)
"""
REFUSED = """
try:
    local.ensure()
except RayllmError as error:
    print(error)
"""
FILLED = """
import signal, time
from pathlib import Path
local.ensure()
with Path(home, "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(1 << 16))
    except OSError:
        pass
os.kill(local.pid("gcs/gcs_server"), signal.SIGKILL)
end = time.monotonic() + 90
while local.find().state != "failed" and time.monotonic() < end:
    time.sleep(0.1)
print(local.find().state, local.find().reason)
local.destroy()
print(local.backend.find("tight") is None)
"""


def run(code: str, home: Path, size: str) -> list[str]:
    """What the code prints, with RayLLM's home on a disk of that size."""
    home.mkdir()
    argv = [*NAMESPACE, sys.executable, "-c", SMALL + code, str(home), size, str(Path(__file__).parent)]
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody but root make a namespace to mount a disk in")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    """Nothing is started; what is needed and what there is are told."""
    home = tmp_path / "a home, größer"
    lines = run(REFUSED, home, "32m")
    assert lines == [
        f"no room for the state and the logs of tight: 67 MB needed, 34 MB free at {home}",
        "  do     free some space there, or set RAYLLM_HOME to another disk and start Ray anew",
        "  more   rayllm explain disk-full",
    ]


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """A cluster that dies of it says so, and can be taken away."""
    home = tmp_path / "a home, größer"
    told, gone = run(FILLED, home, "80m")
    assert told == f"failed its background service ended: no space is left for RayLLM's folder {home}"
    assert gone == "True"
