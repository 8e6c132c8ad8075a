"""What the system refuses and what we got wrong, as a person reads it; and a command line in a poor environment."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rayllm.errors import InputError
from rayllm.faults import from_bug, from_system
from rayllm.paths import home

MAIN = "from rayllm.cli import main; main()"
VERBS = ("validate", "plan", "up", "status", "logs m", "down", "plugins")


def rayllm(*arguments: str, code: str = MAIN, env: dict[str, str] | None = None, **more: Any) -> Any:
    """The command line in a process of its own, with core's plugin alone; more options go to `subprocess.run`."""
    environ = {**os.environ, "RAYLLM_PLUGINS_DISABLED": "*", **(env or {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.run(argv, env=environ, text=True, timeout=60, check=False, **streams)


def refusal(path: Path) -> OSError:
    """The system's own error when a folder is made there."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the test's subject
        path.mkdir(parents=True)
    return caught.value


def test_a_home_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a file, or its path is too long."""
    taken = tmp_path / "taken"
    taken.touch()
    monkeypatch.setenv("RAYLLM_HOME", str(taken))
    error = from_system(refusal(home() / "run"))
    assert error.exit_code == 2
    assert str(error) == (
        f"{taken} can't be used as RayLLM's folder\n  cause  Not a directory: {taken / 'run'}\n"
        "  do     set RAYLLM_HOME to a folder on a disk of this machine that you may write to\n"
        "  more   rayllm explain home"
    )
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / ("x" * 300)))
    assert str(from_system(refusal(home())).cause).startswith("File name too long: ")


def test_a_full_disk_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is named, and where else it may be."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    error = from_system(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "run")))
    assert str(error) == (
        f"no space is left for RayLLM's folder {tmp_path}\n"
        f"  cause  [Errno 28] No space left on device: '{tmp_path / 'run'}'\n"
        "  do     free some space there, or set RAYLLM_HOME to another disk\n  more   rayllm explain disk-full"
    )


def test_a_full_disk_of_somebody_else() -> None:
    """Nothing is said of our folder when results can't be written."""
    with Path("/dev/full").open("w") as full:
        result = rayllm("explain", stdout=full)
    assert (result.returncode, result.stderr) == (
        1,
        (
            "no space is left on a disk\n  cause  [Errno 28] No space left on device\n"
            "  do     free some space there\n  more   rayllm explain disk-full\n"
        ),
    )


def test_another_refusal() -> None:
    """The system's own words."""
    assert str(from_system(OSError(errno.EMFILE, "Too many open files"))) == (
        "the system refused it: [Errno 24] Too many open files"
    )


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with a number alone, or a misspelt one."""
    monkeypatch.setenv("RAYLLM_HOME", "~nobody-at-all/models")
    with pytest.raises(InputError) as caught:
        home()
    assert str(caught.value) == (
        "RayLLM's folder can't be ~nobody-at-all/models: there is no such home folder\n"
        "  do     set RAYLLM_HOME to a folder that you may write to\n  more   rayllm explain home"
    )


def test_the_home_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative one counts from where the command runs, `~` is the home folder, empty is not set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for given, found in (("a b/ü", "a b/ü"), ("~/x", "me/x"), ("", "me/.rayllm")):
        monkeypatch.setenv("RAYLLM_HOME", given)
        assert home() == tmp_path / found


def test_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback first, then what to do with it."""
    code = f"import rayllm.plugins as p\ndef fall(*_, **__): raise KeyError('x')\np.Plugins.discover = fall\n{MAIN}"
    result = rayllm("plugins", code=code)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    monkeypatch.setattr(sys, "argv", ["rayllm", "plugins"])
    assert "\n".join(lines[-4:]) == str(from_bug(KeyError("x")))
    assert lines[-2:] == [
        "  do     report it with the lines above and the command: rayllm plugins",
        "  more   rayllm explain bug",
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_at_every_verb(verb: str, tmp_path: Path) -> None:
    """130 and no traceback, while plugins are loaded."""
    code = "import os, signal, rayllm.plugins as p\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell lets what it starts with & ignore it
    code += f"p.Plugins.discover = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n{MAIN}"
    result = rayllm(*verb.split(), code=code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (130, "")
    assert "Traceback" not in result.stderr


def test_a_reader_that_has_seen_enough() -> None:
    """`rayllm explain | head -1` ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        result = rayllm("explain", "port-in-use", stdout=nobody)
    assert (result.returncode, result.stderr) == (1, "")


def test_closed_streams(tmp_path: Path) -> None:
    """Nothing to read from counts as nobody there to answer; nothing to write to is no error."""
    (tmp_path / "rayllm.yaml").write_text("")
    closed = (
        "import os; [os.close(n) for n in {}]; os.execv(sys.executable, [sys.executable, '-c', {!r}, *sys.argv[1:]])"
    )
    for numbers in ((0,), (1,), (2,), (0, 1, 2)):
        result = rayllm(
            "validate", code="import sys, " + closed.format(numbers, MAIN).removeprefix("import "), cwd=tmp_path
        )
        assert (result.returncode, "Traceback" in result.stderr) == (2, False), numbers


@pytest.mark.parametrize(
    "poor", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"TERM": "dumb"}, {"COLUMNS": "1"}]
)
def test_poor_environments(poor: dict[str, str]) -> None:
    """Letters that can't be shown are replaced, and the rest is there."""
    result = rayllm("explain", "port-in-use", env=poor, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")
    assert "is in use by python3 (pid 14242)" in result.stdout
