"""The project of a cluster: found, or made, and its clone awaited."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.cai import Cai

from rayllm import ClusterError
from rayllm_backend_cai.api import CaiClient, NotFoundError
from rayllm_backend_cai.api.records import Project
from rayllm_backend_cai.options import CaiOptions, GitOptions
from rayllm_backend_cai.steps import project as project_step
from rayllm_backend_cai.workspace import Workspace


def ensure(cai: Cai, told: list[str] | None = None, **options: Any) -> Project:
    """Find or make the project of the cluster `demo`; with each new thing that it tells, two seconds of time pass."""

    def progress(step: str, detail: str, *, done: bool = False) -> None:
        if told is not None and detail not in told:
            told.append(detail)
            cai.fake.clock.advance(2)

    return project_step.ensure_project(cai.client, CaiOptions(**options), "demo", progress)


@pytest.fixture
def repository(tmp_path: Path) -> GitOptions:
    """A repository with one file."""
    (tmp_path / "app.py").write_text("")
    who = ["-c", "user.name=u", "-c", "user.email=u@example.com"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return GitOptions(url=f"file://{tmp_path}")


def test_by_name_and_by_id(cai: Cai) -> None:
    """A name is compared as a whole; an id goes as well, in the options or in the environment."""
    cai.fake.add_project("llm-2")
    assert ensure(cai, project="llm").id == cai.project
    assert ensure(cai, project=cai.project).id == cai.project
    with CaiClient(Workspace(url=cai.fake.url, key=cai.fake.key, project=cai.project)) as client:
        assert getattr(project_step.find_project(client, CaiOptions(), "demo"), "id", "") == cai.project


def test_a_name_that_looks_like_an_id(cai: Cai) -> None:
    """It is looked for as both."""
    made = cai.fake.add_project("abcd-efgh-ijkl-mnop")
    assert ensure(cai, project="abcd-efgh-ijkl-mnop").id == made


def test_an_id_that_is_gone(cai: Cai) -> None:
    """It is not made anew: nobody can choose an id."""
    with (
        CaiClient(Workspace(url=cai.fake.url, key=cai.fake.key, project="gone-gone-gone-gone")) as client,
        pytest.raises(NotFoundError),
    ):
        project_step.find_project(client, CaiOptions(), "demo")


def test_several_of_a_name(cai: Cai) -> None:
    """They are named, for a person to choose from."""
    other = cai.fake.add_project("llm")
    with pytest.raises(ClusterError, match="2 projects are called llm") as caught:
        ensure(cai, project="llm")
    assert cai.project in (caught.value.cause or "")
    assert other in (caught.value.cause or "")
    assert caught.value.cure == "name one by its id: cluster.options.project"  # which goes before the environment's


def test_made_by_the_name_of_the_deployment(cai: Cai) -> None:
    """Once."""
    made = ensure(cai)
    assert (made.name, made.creation_status) == ("demo", "success")
    assert ensure(cai).id == made.id


def test_cloned(cai: Cai, repository: GitOptions) -> None:
    """It is waited for, and then for its files."""
    cai.fake.clock.freeze()
    cai.settings.clone_s, cai.settings.files_late_s = 2, 1
    told: list[str] = []
    made = ensure(cai, told, git=repository)
    assert (cai.fake.folder(made.id) / "app.py").exists()
    assert told == ["making demo", "demo is being made", "waiting for the files of demo"]


@pytest.mark.parametrize(("clone", "said"), [("fails", "could not be made"), ("never ends", "still being made")])
def test_a_clone_that_does_not_end_well(
    cai: Cai, repository: GitOptions, monkeypatch: pytest.MonkeyPatch, clone: Any, said: str
) -> None:
    """It is told what to look at; so it is when it is asked again."""
    monkeypatch.setattr(project_step, "CLONE_S", 0.5)
    cai.settings.clone = clone
    for _ in range(2):
        with pytest.raises(ClusterError, match=said) as caught:
            ensure(cai, git=repository)
        assert "cluster.options.git.url" in (caught.value.cure or "")


def test_files_that_do_not_come(cai: Cai, repository: GitOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(project_step, "FILES_S", 0.5)
    cai.settings.files_late_s = 600
    with pytest.raises(ClusterError, match="has no files"):
        ensure(cai, git=repository)


def test_two_at_once_make_one(cai: Cai) -> None:
    """Lists are behind, and both make it: the older one stays."""
    cai.settings.list_lag_s = 1
    found: list[Project] = []
    threads = [threading.Thread(target=lambda: found.append(ensure(cai))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in found}) == 1
    assert [one.id for one in cai.client.projects.named("demo")] == [found[0].id]
