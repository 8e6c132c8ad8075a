"""Commands that are cut off, and commands that get in each other's way: what was begun goes on, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.conftest import Rayllm, marked, until
from tests.integration.deployment.conftest import QUICK, Deployment


@pytest.fixture
def cold(rayllm: Rayllm) -> Iterator[Deployment]:
    """A deployment of one model that does not run, and whose processes are all gone behind the test."""
    made = Deployment(rayllm)
    made.models = {"one": QUICK}
    made.write()
    yield made
    rayllm("down", "--yes")
    until("every process is gone", lambda: not marked(rayllm.home), 15)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and what was said."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in out + err
    return process.returncode, out + err


def cut_off(deployment: Deployment, number: signal.Signals, word: str) -> tuple[int, str]:
    """Start `up` and send it a signal once it says `word`; how it ended."""
    process = deployment.rayllm.start("up", "--yes")
    assert process.stderr
    assert any(word in line for line in process.stderr), f"{word!r} was never said"
    process.send_signal(number)
    return ended(process)


def test_up_is_cut_off_at_several_moments(cold: Deployment) -> None:
    """Ctrl-C, a closed terminal and kill -9: what runs in the background stays, and the last `up` finds it ready."""
    status, said = cut_off(cold, signal.SIGINT, "starting Ray")
    assert status == 130
    assert "Interrupted. What was begun of it goes on" in said
    assert cold.rayllm.start("status").communicate()[1]
    assert cut_off(cold, signal.SIGKILL, "cluster")[0] == -signal.SIGKILL
    assert cut_off(cold, signal.SIGHUP, "starting a replica")[0] == -signal.SIGHUP
    cold.rayllm("up", "--yes")
    assert cold.answer("one")
    assert "No changes" in cold.rayllm("plan")


def test_down_after_ctrl_c_while_ray_starts(cold: Deployment) -> None:
    """A half-started cluster is taken away whole."""
    assert cut_off(cold, signal.SIGINT, "starting Ray")[0] == 130
    assert "it is down." in cold.rayllm("down", "--yes")
    until("every process is gone", lambda: not marked(cold.rayllm.home), 15)
    assert "it is not running" in cold.rayllm("status", status=1)


def test_two_first_ups_with_different_files_then_down_during_a_third(cold: Deployment) -> None:
    """One has the last word and is content. `down` ends an `up`, which says so instead of what the network said."""
    text = (cold.rayllm.folder / "rayllm.yaml").read_text()
    (cold.rayllm.folder / "other.yaml").write_text(text.replace("one:", "other:"))
    files = ("rayllm.yaml", "other.yaml")
    both = [cold.rayllm.start("up", "--yes", "-f", file) for file in files]
    ends = [ended(process) for process in both]
    assert 0 in [status for status, _ in ends], ends
    plans = [cold.rayllm("plan", "-f", file) for file in files]
    assert sum("No changes" in plan for plan in plans) == 1, (ends, plans)

    cold.models = {"slow": {**QUICK, "options": {"start_s": 60}}}
    cold.write()
    third = cold.rayllm.start("up", "--yes")
    assert third.stderr
    assert any("engine starting" in line for line in third.stderr)
    cold.rayllm("down", "--yes")
    status, said = ended(third)
    assert status == 1
    assert "it was taken down meanwhile" in said
