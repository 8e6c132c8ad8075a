"""Projects, their clones, and files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.cai import Cai
from tests.conftest import until

from rayllm.errors import InputError
from rayllm_backend_cai.api import CaiError, NotFoundError, UnavailableError
from rayllm_backend_cai.api.records import NewProject
from rayllm_backend_cai.testing import Fault


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A git repository with a file."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "main.py").write_text("print('cloned')")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for argv in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *argv], cwd=folder, check=True)
    return str(folder)


def _status(cai: Cai, project: str, status: str) -> None:
    until(f"it is {status}", lambda: cai.client.projects.get(project).creation_status == status, 20)


def test_a_clone_takes_its_time(cai: Cai, repository: str) -> None:
    """First `creating`, then `success`, and the files may come still later."""
    cai.fake.clock.freeze()
    cai.settings.clone_s, cai.settings.files_late_s = 60.0, 30.0
    project = cai.client.projects.create(NewProject(name="cloned", template="git", git_url=repository, git_ref="main"))
    assert project.creation_status == "creating"
    cai.fake.clock.advance(61)
    _status(cai, project.id, "success")
    assert cai.client.files.folder(project.id) == []
    cai.fake.clock.advance(31)
    until("the files are there", lambda: cai.client.files.folder(project.id), 20)
    assert cai.client.files.download(project.id, "main.py") == b"print('cloned')"


def test_a_clone_that_does_not_come(cai: Cai, repository: str, tmp_path: Path) -> None:
    """It fails, or never ends."""
    create = cai.client.projects.create
    nowhere = create(NewProject(name="nowhere", template="git", git_url=str(tmp_path / "none")))
    _status(cai, nowhere.id, "failure")
    cai.settings.clone = "fails"
    _status(cai, create(NewProject(name="fails", template="git", git_url=repository)).id, "failure")
    cai.settings.clone = "never ends"
    never = create(NewProject(name="never", template="git", git_url=repository))
    cai.fake.clock.advance(100_000)
    assert cai.client.projects.get(never.id).creation_status == "creating"
    with pytest.raises(CaiError, match="git_url"):
        create(NewProject(name="no address", template="git"))


def test_exact_names(cai: Cai) -> None:
    """The server finds parts of them, with their case, and does not keep them unique."""
    made = [cai.client.projects.create(NewProject(name=name)).id for name in ("DS", "DSE", "ds", "DS")]
    assert {one.id for one in cai.client.projects.named("DS")} == {made[0], made[3]}
    assert cai.client.projects.named("D") == []
    assert [one.id for one in cai.client.projects.named("ds")] == [made[2]]


def test_the_environment_is_merged(cai: Cai) -> None:
    """The platform would replace all of it."""
    merge = cai.client.projects.merge_environment
    merge(cai.project, {"A": "1", "B": "2"})
    assert merge(cai.project, {"B": None, "C": 'quoted "3"'}).environment == {"A": "1", "C": 'quoted "3"'}
    before = len(cai.calls)
    merge(cai.project, {"A": "1", "B": None})
    assert len(cai.calls) == before + 1
    assert cai.client.projects.set_shared_memory(cai.project, 4096).shared_memory_limit == 4096


def test_an_upload_is_there_under_its_own_name(cai: Cai) -> None:
    """Also where there was one before, in folders, and empty."""
    files = cai.client.files
    for content in (b"first", b"the second one", b""):
        files.upload(cai.project, "a b/deep/x+y%.txt", content)
        assert files.download(cai.project, "a b/deep/x+y%.txt") == content
    (listed,) = files.folder(cai.project, "a b/deep")
    assert (listed.path, listed.is_dir, listed.file_size) == ("x+y%.txt", False, 0)
    assert {one.path: one.is_dir for one in files.folder(cai.project)} == {
        "server.py": False,
        "wait.py": False,
        "a b": True,
    }
    files.rename(cai.project, "a b/deep/x+y%.txt", "moved.txt")
    assert files.delete(cai.project, "a b")
    assert not files.delete(cai.project, "a b")
    assert files.folder(cai.project, "a b") == []


@pytest.mark.parametrize("status", [404, 400])
def test_an_upload_whose_delete_was_lost(cai: Cai, status: int) -> None:
    """It landed beside the old one: that is seen, taken away and done again."""
    cai.client.files.upload(cai.project, "x.txt", b"old")
    cai.fake.faults.add(Fault(method="DELETE", path="x.txt", status=status, code=5))
    cai.client.files.upload(cai.project, "x.txt", b"newer")
    assert cai.client.files.download(cai.project, "x.txt") == b"newer"
    assert [one.path for one in cai.client.files.folder(cai.project) if one.path.startswith("x")] == ["x.txt"]


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(status=502, html=True)], ids=["dropped", "502"])
def test_an_upload_that_was_not_answered(cai: Cai, carried_out: bool, fault: Fault) -> None:
    """The folder tells whether it is there."""
    cai.fake.faults.add(fault.model_copy(update={"method": "POST", "path": "/files$", "carried_out": carried_out}))
    cai.client.files.upload(cai.project, "x.txt", b"content")
    assert cai.client.files.download(cai.project, "x.txt") == b"content"
    posts = [call for call in cai.calls if call.method == "POST" and call.path.endswith("/files")]
    assert len(posts) == (1 if carried_out else 2)


@pytest.mark.parametrize(("by_content", "kept"), [(False, b"mine"), (True, b"same")])
def test_somebody_else_was_quicker(cai: Cai, by_content: bool, kept: bytes) -> None:
    """After the folder was listed: their file is replaced, or left where its name says that it is the same."""
    files = cai.client.files
    files.upload(cai.project, "x.txt", b"same")
    files.upload(cai.project, "x.txt", b"mine", there=(), by_content=by_content)
    assert files.download(cai.project, "x.txt") == kept
    assert [file.path for file in files.folder(cai.project) if file.path.startswith("x")] == ["x.txt"]


def test_an_upload_that_never_arrives(cai: Cai) -> None:
    """It is said to be absent, not taken for done."""
    cai.fake.faults.add(Fault(method="POST", path="/files$", status=200, message="{}", times=None))
    with pytest.raises(CaiError, match="was uploaded 3 times"):
        cai.client.files.upload(cai.project, "x.txt", b"content")
    cai.fake.faults.clear()
    cai.fake.faults.add(Fault(method="POST", path="/files$", drop=True, times=None))
    with pytest.raises(UnavailableError):
        cai.client.files.upload(cai.project, "x.txt", b"content")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x"])
def test_no_way_out_of_the_project(cai: Cai, path: str) -> None:
    """Not asked at all."""
    for act in (cai.client.files.delete, cai.client.files.download, cai.client.files.folder):
        with pytest.raises(InputError, match="no path inside"):
            act(cai.project, path)
    with pytest.raises(InputError, match="no path inside"):
        cai.client.files.upload(cai.project, path, b"")
    assert cai.calls == []
    with pytest.raises(NotFoundError):
        cai.client.files.download(cai.project, "none")
