"""Ports for engines: held from before the engine binds them until they are released, or their holder ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rayllm.errors import ClusterError
from rayllm.serving.processes import ports
from rayllm.serving.processes.ports import hold_port

HOLDER = """
from rayllm.serving.processes import ports
ports.FIRST, ports.LAST = map(int, input().split())
held = ports.hold_port()
print(held.number, flush=True)
input()
"""


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two free ports are all there are."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    monkeypatch.setattr(ports, "_ephemeral_range", lambda: (0, 0))
    for first in range(21000, 29000, 2):
        if all(ports._is_free("127.0.0.1", number) for number in (first, first + 1)):
            monkeypatch.setattr(ports, "FIRST", first)
            monkeypatch.setattr(ports, "LAST", first + 1)
            return first, first + 1
    pytest.fail("no two free ports beside each other")


def test_nobody_else_gets_a_port_that_is_held(few: tuple[int, int]) -> None:
    """Until it is released; who finds none is told which were tried."""
    held = [hold_port(), hold_port()]
    assert sorted(port.number for port in held) == list(few)
    with pytest.raises(ClusterError) as caught:
        hold_port()
    assert caught.value.message == f"no free port from {few[0]} to {few[1]} on 127.0.0.1 of {socket.gethostname()}"
    held[0].release()
    again = hold_port()
    assert again.number == held[0].number
    for port in (again, held[1]):
        port.release()


def test_a_port_in_use_is_passed_over(few: tuple[int, int]) -> None:
    """By whoever does not ask us."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", few[0]))
        other.listen()
        held = hold_port()
        assert held.number == few[1]
        held.release()


def test_a_port_is_free_again_when_its_holder_was_killed(few: tuple[int, int]) -> None:
    """The system drops the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(f"{few[0]} {few[1]}\n")
        holder.stdin.flush()
        taken = int(holder.stdout.readline())
        mine = hold_port()
        assert {taken, mine.number} == set(few)
        holder.kill()
        holder.wait()
        again = hold_port()
        assert again.number == taken
        mine.release()
        again.release()


def test_ports_that_the_system_gives_away_are_passed_over(
    few: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any program may get one of them for a connection of its own."""
    monkeypatch.setattr(ports, "_ephemeral_range", lambda: (few[1], few[1]))
    held = hold_port()
    assert held.number == few[0]
    monkeypatch.setattr(ports, "_ephemeral_range", lambda: (0, 65535))
    with pytest.raises(ClusterError, match="no free port"):
        hold_port()
    held.release()


def test_ports_in_a_row(few: tuple[int, int]) -> None:
    """All of them are held, and released together; more than there are in a row can't be had."""
    held = hold_port(count=2)
    assert held.number == few[0]
    with pytest.raises(ClusterError):
        hold_port()
    held.release()
    one = hold_port()
    with pytest.raises(ClusterError):
        hold_port(count=2)
    one.release()
