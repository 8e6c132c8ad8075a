"""The cluster's folder, the identity of processes, and what is said about a cluster that does not run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from rayllm import ClusterError, ClusterSpec
from rayllm_backend_local import leftovers, open_local, processes, rayllm_backends
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.state import Folder, State, Wanted, last_lines

WANTED = Wanted(gateway_host="127.0.0.1", gateway_port=8000, options={"nodes": 1})


def quiet(step: str, detail: str, *, done: bool = False) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A cluster's folder in a home of its own."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    return Folder("demo")


def write(folder: Folder, state: State) -> None:
    """A cluster as an earlier command left it."""
    folder.write_wanted(WANTED)
    folder.write_token("secret")
    folder.write_state(state)


def test_what_is_written_is_read(folder: Folder) -> None:
    """State and wish come back as they were, in files for this user alone."""
    assert folder.state() is None
    state = State(id="abc", temp_dir="/t", stage="ready", since=1.5, gcs_port=7)
    write(folder, state)
    assert (folder.state(), folder.wanted(), folder.token()) == (state, WANTED, "secret")
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_token_is_not_shown(folder: Folder) -> None:
    """The cluster that find returns does not print its token."""
    write(folder, State(id="abc", temp_dir="/t", stage="failed", reason="boom"))
    cluster = open_local(LocalOptions()).find("demo")
    assert cluster is not None
    assert cluster.token == "secret"
    assert "secret" not in repr(cluster)


def test_no_cluster(folder: Folder) -> None:
    """There is none: find says so, and destroy has nothing to say."""
    backend = open_local(LocalOptions())
    said: list[str] = []
    assert backend.find("demo") is None
    backend.destroy("demo", lambda *words, **_: said.extend(words))
    assert said == []


def test_supervisor_is_gone(folder: Folder) -> None:
    """A state whose supervisor does not run is a failed cluster, even if another process has its number."""
    mine = processes.identity(os.getpid())
    assert mine is not None
    number, start, boot = mine.split("/")
    for gone in ("", f"{number}/{int(start) - 1}/{boot}", f"{number}/{start}/another-boot"):
        write(folder, State(id="abc", temp_dir="/t", stage="ready", supervisor=gone))
        cluster = open_local(LocalOptions()).find("demo")
        assert cluster is not None
        assert (cluster.state, "start it again" in cluster.reason) == ("failed", True)


def test_starting_again(folder: Folder) -> None:
    """While the head is down, the reason tells why and since when."""
    mine = processes.identity(os.getpid()) or ""
    write(folder, State(id="abc", temp_dir="/t", supervisor=mine, reason="Ray's head ended", since=0))
    cluster = open_local(LocalOptions()).find("demo")
    assert cluster is not None
    assert cluster.state == "starting"
    assert cluster.reason.startswith("Ray's head ended, for ")


def test_other_options_are_refused(folder: Folder) -> None:
    """A cluster that runs keeps its options; the error names those that differ and the way out."""
    mine = processes.identity(os.getpid()) or ""
    write(folder, State(id="abc", temp_dir="/t", stage="ready", supervisor=mine))
    spec = ClusterSpec(name="demo", gateway_host="127.0.0.1", gateway_port=8000)
    with pytest.raises(ClusterError, match=r"nodes 1 → 3[\s\S]*rayllm down"):
        open_local(LocalOptions(nodes=3)).ensure(spec, quiet)


def test_end_signals_only_who_is_meant() -> None:
    """A process is ended by its identity, forced if it must be; another with the same number is left alone."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        known = processes.identity(child.pid)
        assert known is not None
        processes.end(known.replace("/", "/1", 1), grace_s=0)
        assert processes.alive(known)
        processes.end(known, grace_s=0.1)
        assert not processes.alive(known)  # ended, though its exit status was not asked for yet
        assert child.wait() == -signal.SIGKILL
    processes.end(known, grace_s=0)
    assert processes.identity(child.pid) is None


def test_clear_keeps_the_logs(folder: Folder, tmp_path: Path) -> None:
    """Clearing up removes the folder for Ray and our files, and keeps the logs of both."""
    temp_dir = tmp_path / "ray"
    session = temp_dir / "session_1"
    (session / "logs").mkdir(parents=True)
    (session / "logs" / "gcs.out").write_text("why")
    (temp_dir / "session_latest").symlink_to(session)
    folder.logs.mkdir(parents=True)
    folder.storage.mkdir()
    write(folder, State(id="abc", temp_dir=str(temp_dir)))
    leftovers.clear(folder)
    leftovers.clear(folder)
    assert list(folder.path.iterdir()) == [folder.logs]
    assert (folder.logs / "ray" / "gcs.out").read_text() == "why"
    assert not temp_dir.exists()


def test_last_lines(tmp_path: Path) -> None:
    """The end of a log is given, and nothing where there is none."""
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_bytes(b"1\n2\n\xff3\n")
    assert last_lines(log, 2) == "2\n\ufffd3"


def test_options() -> None:
    """Unknown options and impossible numbers are errors."""
    for wrong in ({"node": 2}, {"nodes": 0}, {"cpus": 0}, {"gpus": -1}, {"nodes": "2"}):
        with pytest.raises(ValidationError):
            LocalOptions(**wrong)


def test_plugin_never_imports_ray() -> None:
    """The operator's side offers, opens and asks the backend without Ray."""
    (offered,) = rayllm_backends()
    assert offered.name == "local"
    code = (
        "import sys; from rayllm_backend_local import open_local, options\n"
        "open_local(options.LocalOptions()).find('no-such-cluster'); assert not {'ray', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
