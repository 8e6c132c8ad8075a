"""Deploying from inside of the platform, as its jobs do, and from somebody's pipeline."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cai import Cai, opened
from tests.conftest import until

from rayllm_backend_cai import shared
from rayllm_backend_cai.bootstrap.requirements import serving_for

EXAMPLES = Path(__file__).parents[3] / "examples" / "cai"
FILE = """
name: demo
models: {m: {engine: fake, source: /}}
cluster: {backend: ray, options: {address: "http://127.0.0.1:1"}}
"""
ON_CAI = """
name: demo
models: {m: {engine: fake, source: /}}
cluster: {backend: cai, options: {project: llm, bypass_authentication: false}}
"""
PYTHON = ".".join(platform.python_version_tuple()[:2])
PIP = """
import json, pathlib, sys
pathlib.Path("pip.json").write_text(json.dumps(sys.argv[1:]))
sys.exit("no such index" if pathlib.Path("pip-fails").exists() else 0)
"""
"""Stands for pip in the session's Python."""


@pytest.fixture
def cai() -> Iterator[Cai]:
    """One for each test."""
    with opened() as made:
        yield made


@pytest.fixture
def folder(cai: Cai, tmp_path: Path) -> Path:
    """The project's folder: a clone with the example's scripts, and a pip that notes what it is asked."""
    origin, clone = tmp_path / "origin", cai.fake.folder(cai.project)
    shutil.rmtree(clone)
    (origin / "cai").mkdir(parents=True)
    for script in EXAMPLES.glob("*.py"):
        shutil.copy(script, origin / "cai")
    (origin / "rayllm.yaml").write_text(FILE)
    git(origin, "init", "--quiet", "--initial-branch=main")
    commit(origin)
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    stubs = tmp_path / "stubs"
    engine = stubs / "rayllm_engine_fake-0.1.0.dist-info"  # registers the fake engine that core brings
    engine.mkdir(parents=True)
    (engine / "METADATA").write_text("Metadata-Version: 2.1\nName: rayllm-engine-fake\nVersion: 0.1.0\n")
    (engine / "entry_points.txt").write_text("[rayllm]\nengine-fake = rayllm.testing.fake_engine\n")
    (stubs / "pip.py").write_text(PIP)
    cai.settings.environment = {"PYTHONPATH": str(stubs)}
    return clone


def git(folder: Path, *argv: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *argv], check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Commit what is there."""
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "more")


def session(cai: Cai, script: str) -> str:
    """Run a script as in a session of the project; what it prints."""
    job = cai.job(script, "session")
    run = cai.client.jobs.start(cai.project, job)
    until("the session has ended", lambda: cai.client.jobs.run(cai.project, job, run.id).finished_at, 30)
    cai.client.jobs.delete(cai.project, job)
    return cai.fake.log("session")


def test_the_jobs_are_made_once_and_follow_each_other(cai: Cai, folder: Path) -> None:
    """With this session's Python; run again, they are brought up to date."""
    told = session(cai, "cai/jobs.py")
    assert "demo-1-sync: cai/sync.py, run this one" in told, told
    jobs = {job.name: job for job in cai.client.jobs.all(cai.project)}
    first, second, third = (jobs[name] for name in ("demo-1-sync", "demo-2-environment", "demo-3-launch"))
    assert (first.parent_id, second.parent_id, third.parent_id) == ("", first.id, second.id)
    assert first.runtime_identifier == cai.fake.image
    cai.client.jobs.update(cai.project, second.id, script="cai/sync.py")
    session(cai, "cai/jobs.py")
    again = {job.name: job for job in cai.client.jobs.all(cai.project)}
    assert {name: job.id for name, job in again.items()} == {name: job.id for name, job in jobs.items()}
    assert again["demo-2-environment"].script == "cai/environment.py"


def test_sync_takes_what_is_new(cai: Cai, folder: Path, tmp_path: Path) -> None:
    """Files by git, packages by pip: the plugins that are there, or what the project lists."""
    (tmp_path / "origin" / "new.txt").write_text("new")
    commit(tmp_path / "origin")
    session(cai, "cai/sync.py")
    assert (folder / "new.txt").read_text() == "new"
    asked = json.loads((folder / "pip.json").read_text())
    assert asked[:2] == ["install", "--upgrade"]
    assert {"rayllm-core", "rayllm-engine-fake"} <= set(asked)
    (folder / "requirements.txt").write_text("rayllm-core==0.1.0\n")
    session(cai, "cai/sync.py")
    assert json.loads((folder / "pip.json").read_text())[2:] == ["-r", "requirements.txt"]


def test_a_sync_that_fails_ends_the_chain(cai: Cai, folder: Path) -> None:
    """With the program's own words; the jobs after it do not start."""
    session(cai, "cai/jobs.py")
    (folder / "pip-fails").touch()
    (job,) = cai.client.jobs.named(cai.project, "demo-1-sync")
    run = cai.client.jobs.start(cai.project, job.id)
    cai.ran(job.id, run, "failed")
    assert "cause  no such index" in cai.fake.log("demo-1-sync")
    (after,) = cai.client.jobs.named(cai.project, "demo-2-environment")
    assert cai.client.jobs.runs(cai.project, after.id) == []


def test_environments_are_made_in_the_job_itself(cai: Cai, folder: Path) -> None:
    """With the project's disk at hand no other pod is needed; what is there already is left alone."""
    (folder / "rayllm.yaml").write_text(ON_CAI)
    serving = folder / shared.SERVING / serving_for(PYTHON).digest
    (serving / "bin").mkdir(parents=True)
    (serving / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (serving / "bin" / "python").chmod(0o755)
    (serving / shared.READY).write_text("{}")
    told = session(cai, "cai/environment.py")
    assert "environment m: " in told, told
    assert told.endswith("✔ environment  ready\n")
    assert [job.name for job in cai.client.jobs.all(cai.project)] == []
    again = session(cai, "cai/environment.py")
    assert "environment m" not in again
    assert again.endswith("✔ environment  ready\n")


def test_environments_that_cannot_be_made(cai: Cai, folder: Path) -> None:
    """The job fails with the reason, and the one after it does not start."""
    (folder / "rayllm.yaml").write_text(ON_CAI)
    serving = folder / shared.SERVING / serving_for(PYTHON).digest
    (serving / "bin").mkdir(parents=True)
    (serving / "bin" / "python").touch(0o600)  # can't be run
    (serving / shared.READY).write_text("{}")
    told = session(cai, "cai/environment.py")
    assert "ClusterError" in told, told
    assert "Permission denied" in told


def test_launch_is_rayllm_up(cai: Cai, folder: Path) -> None:
    """In a kernel, where an event loop runs already: here it finds no cluster where the file says."""
    told = session(cai, "cai/launch.py")
    assert "http://127.0.0.1:1" in told, told
    assert "  do     " in told
