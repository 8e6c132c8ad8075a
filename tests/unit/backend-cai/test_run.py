"""`run.py` as a kernel runs it in a pod, with stubs for the Python that it hands over to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.cai_nodes import BOOTSTRAP, plant_python
from tests.conftest import default_signals, until

from rayllm_backend_cai.bootstrap import run
from rayllm_backend_cai.testing.pods import RUNNER


@dataclass
class Project:
    """A project's disk, and kernels that run `run.py` on it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """RayLLM's folder."""
        return self.folder / ".rayllm"

    @property
    def log(self) -> str:
        """What is kept for the operator."""
        path = self.home / "clusters/demo/logs/demo/supervisor.log"
        return path.read_text() if path.exists() else ""

    def pack(self, **files: str) -> None:
        """Upload code."""
        (self.home / "code").mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.home / "code/c0de.zip", "w") as packed:
            for name, text in files.items():
                packed.writestr(name.replace("__", "/") + ".py", text)

    def start(self, task: str = "head", engine: str = "e1", code: str = "c0de") -> subprocess.Popen[str]:
        """Run it in a pod."""
        told = {"TASK": task, "CLUSTER": "demo", "NODE": "demo", "CODE": code, "SERVING": "5e41"}
        process = subprocess.Popen(
            [sys.executable, "-u", str(RUNNER), ".rayllm/run-c0de.py"],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CDSW_ENGINE_ID": engine,
                **{f"RAYLLM_CAI_{name}": value for name, value in told.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=default_signals,  # noqa: PLW1509
        )
        self.started.append(process)
        return process


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A disk with `run.py` and some code on it."""
    made = Project(tmp_path)
    made.pack(hello="")
    (made.home / "run-c0de.py").write_text((BOOTSTRAP / "run.py").read_text())
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def python(project: Project, script: str) -> None:
    """What stands in for the nodes' Python."""
    plant_python(project.home / "serving/5e41", script)


def test_several_pods_unpack_at_once(project: Project) -> None:
    """Each finds all of the code, and nothing else is left."""
    project.pack(**{f"pack__m{number}": "#" * 10_000 for number in range(300)}, zz_last="")
    python(project, f'echo $PYTHONPATH; ls $PYTHONPATH; touch "{project.folder}/seen.$CDSW_ENGINE_ID"; exec sleep 60')
    for number in range(4):
        project.start(engine=f"e{number}")
    until("all run", lambda: len(list(project.folder.glob("seen.*"))) == 4, 20)
    assert [path.name for path in sorted((project.home / "code").iterdir())] == ["c0de", "c0de.zip"]
    assert len(list((project.home / "code/c0de/pack").iterdir())) == 300
    assert "zz_last.py" in project.log


def test_what_killed_pods_left_is_gone(project: Project) -> None:
    """Their halves of the code, when another pod has all of it."""
    left = project.home / "code/.c0de.e0.1/hello.py"
    left.parent.mkdir()
    left.touch()
    python(project, "echo up; exec sleep 60")
    project.start()
    until("it runs", lambda: "up" in project.log, 10)
    assert sorted(path.name for path in (project.home / "code").iterdir()) == ["c0de", "c0de.zip"]


@pytest.mark.parametrize("task", ["head", "environment"])
def test_secrets_are_private_from_the_first_program_on(project: Project, task: str) -> None:
    """What was uploaded may have been readable by all."""
    secret = project.home / "secrets/HF_TOKEN"
    secret.parent.mkdir(mode=0o755)
    secret.write_text("not-to-be-seen")
    secret.chmod(0o644)
    look = f"stat -c %a {secret.parent} {secret}"
    python(project, f"{look}; exec sleep 60")
    project.pack(rayllm_backend_cai__bootstrap__build=f"import os; os.system({look!r})")
    project.start(task)
    until("it looked", lambda: "700\n600\n" in project.log, 10)


def test_what_ends_is_started_again(project: Project) -> None:
    """With a pause that grows; what it says is printed and kept."""
    python(project, f'echo oh no >&2; echo >> "{project.folder}/starts"; exit 3')
    process = project.start()
    until("three starts", lambda: project.log.count("oh no") == 3, 20)
    assert [line[20:] for line in project.log.splitlines() if "run.py" in line][:5] == [
        "run.py head demo in pod e1 at ?",
        "run.py ended with status 3",
        "run.py again in 1 s",
        "run.py ended with status 3",
        "run.py again in 2 s",
    ]
    process.send_signal(signal.SIGTERM)  # in a pause: it does not wait for its end
    printed, _ = process.communicate(timeout=5)
    assert printed.count("oh no") == 3
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_node(project: Project, number: signal.Signals) -> None:
    """The platform signals the kernel alone."""
    python(project, "trap 'echo left in peace; exit 0' TERM; echo up; sleep 60 & wait")
    process = project.start()
    until("it runs", lambda: "up" in project.log, 10)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=10)
    assert "left in peace" in printed
    assert process.returncode == 0


def test_a_node_hears_of_its_kernels_end(project: Project) -> None:
    """Killed, the kernel can tell nothing; the end of the pipe does."""
    python(project, f'echo up; read word; touch "{project.folder}/alone"')
    process = project.start()
    until("it runs", lambda: "up" in project.log, 10)
    process.kill()
    until("it noticed", (project.folder / "alone").exists, 10)


def test_what_is_not_there_yet_is_waited_for(project: Project) -> None:
    """Code, or a Python, that comes later."""
    (project.home / "code/c0de.zip").write_bytes(b"half of a zip")
    project.start()
    until("it says so", lambda: "not a zip file" in project.log, 10)
    project.pack(hello="")
    until("it went on", lambda: "5e41/bin/python" in project.log, 10)
    python(project, "echo up; exec sleep 60")
    until("it runs", lambda: "\nup\n" in project.log, 10)


def test_the_environments_job_runs_once(project: Project) -> None:
    """With the runtime's own Python, and its end is the job's."""
    project.pack(rayllm_backend_cai__bootstrap__build="import sys; print('building'); sys.exit(4)")
    process = project.start("environment")
    printed, _ = process.communicate(timeout=10)
    assert printed.count("\nbuilding\n") == 1
    assert "building the environment failed with status 4" in printed
    assert process.returncode == 1


def test_the_environments_job_needs_its_code(project: Project) -> None:
    """It does not wait long for what nobody uploads any more."""
    script = project.home / "run-c0de.py"
    script.write_text(script.read_text().replace("_UPLOAD_S = 60.0", "_UPLOAD_S = 0.5"))
    process = project.start("environment", code="other")
    printed, _ = process.communicate(timeout=10)
    assert printed.count("other.zip") >= 2
    assert process.returncode == 1


def test_the_environments_job_waits_for_code_that_is_uploaded_again(project: Project) -> None:
    """By a second operator: it is missing, then half there, for a moment."""
    archive = project.home / "code/c0de.zip"
    archive.unlink()
    process = project.start("environment")
    until("it waits", lambda: "FileNotFoundError" in project.log, 10)
    archive.write_bytes(b"half of a zip")
    until("it still waits", lambda: "not a zip file" in project.log, 10)
    project.pack(rayllm_backend_cai__bootstrap__build="print('building')")
    printed, _ = process.communicate(timeout=10)
    assert "\nbuilding\n" in printed
    assert process.returncode == 0


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An older part is kept beside it, and the rest is gone."""
    monkeypatch.setattr(run, "MOST_LOG", 100)
    log = run.Log(tmp_path / "logs/supervisor.log")
    for number in range(50):
        log.write(f"line {number}\n".encode())
    log.close()
    kept = [(tmp_path / "logs" / name).read_text() for name in ("supervisor.log.1", "supervisor.log")]
    assert all(len(text) <= 100 for text in kept)
    assert "".join(kept).endswith("line 48\nline 49\n")
    assert capsys.readouterr().out.count("line") == 50


def test_a_full_disk_costs_the_copy_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is printed, whatever happens to the log."""
    (tmp_path / "logs").write_text("in the way")
    log = run.Log(tmp_path / "logs/supervisor.log")
    log.write(b"hello\n")
    assert capsys.readouterr().out.startswith("hello\n")
