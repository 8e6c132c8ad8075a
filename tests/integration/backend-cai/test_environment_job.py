"""The nodes' environment, made by a job of the stand-in workspace with real uv and small wheels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cai import Cai, opened
from tests.cai_environments import JOB, SLOWLY, Nodes, preparation, serving
from tests.conftest import until

from rayllm.errors import ClusterError
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, KeyRefusedError
from rayllm_backend_cai.endings import SILENT
from rayllm_backend_cai.environment_job import Environments
from rayllm_backend_cai.testing import Limits

CHECKING = "environment", "checking that tiny_slow can be imported"
"""What a person is shown while the slow module is imported."""


@pytest.fixture
def cai() -> Iterator[Cai]:
    """One for each test."""
    with opened() as made:
        yield made


@pytest.fixture
def nodes(cai: Cai, tmp_path: Path) -> Nodes:
    """Nothing is made yet."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    return Nodes(cai, wheels)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Operators beside the test."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_it_is_made_once(nodes: Nodes) -> None:
    """By a runtime's Python that has no packages; afterwards one listing tells that all is there."""
    wanted = serving()
    told = nodes.ensure(wanted)
    assert told[-1] == ("environment", "ready")
    folder = nodes.folder / shared.SERVING / wanted.digest
    assert json.loads((folder / shared.READY).read_text())["versions"] == {"tiny_thing": "1.0"}
    assert "Installed 1 package" in nodes.logged
    assert nodes.record["state"] == "succeeded"
    assert "everything is there" in nodes.cai.fake.log(JOB)
    nodes.cai.calls.clear()
    assert nodes.ensure(wanted) == [("environment", "ready")]
    (call,) = nodes.cai.calls
    assert (call.method, call.path.partition("/files")[2]) == ("GET", f"/.rayllm%2Fserving%2F{wanted.digest}")


def test_models_whose_engines_need_environments(nodes: Nodes) -> None:
    """Are prepared by RayLLM's own module in the nodes' Python, once; every step that is shown ends once."""
    wanted, models = serving(), preparation(a="tiny", b="tiny")
    told = nodes.ensure(wanted, models)
    assert sorted(nodes.ended) == sorted({step for step, _ in told})
    assert nodes.ended[-1] == "environment"
    assert told[-3:] == [*[("environment b", "tiny-cuda-1 · 3 GB free")] * 2, ("environment", "ready")]
    assert f"environment a: building {nodes.folder}/.rayllm" in nodes.logged
    nodes.cai.calls.clear()
    assert nodes.ensure(wanted, models) == [("environment", "ready")]
    assert len(nodes.cai.calls) == 1


def test_another_list_is_another_environment_beside(nodes: Nodes) -> None:
    """The job is changed to what is wanted now; what a person added to its environment stays."""
    nodes.ensure(serving())
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    nodes.cai.client.jobs.update(
        nodes.cai.project, job.id, script="server.py", memory=16, environment={**job.environment, "MINE": "1"}
    )
    nodes.ensure(other := serving("tiny-thing"))
    assert nodes.ready(serving())
    assert nodes.ready(other)
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    assert (job.environment["MINE"], job.memory, job.cpu) == ("1", 16, 2)
    assert job.script == str(shared.run_script(nodes.code.digest))
    assert job.environment[shared.SERVING_DIGEST] == other.digest


def test_a_build_that_was_killed_is_made_anew(nodes: Nodes, pool: ThreadPoolExecutor) -> None:
    """The first command says how far it came, the second one clears what was left."""
    first = pool.submit(nodes.ensure, SLOWLY)
    nodes.wait_for_the_import()
    nodes.cai.fake.pod(JOB).kill(oom=True)
    with pytest.raises(
        ClusterError, match=r"failed before it could say why(.|\n)*8 GB(.|\n)*tiny_slow can be imported"
    ):
        first.result(30)
    assert not nodes.ready(SLOWLY)
    nodes.open_the_gate()
    nodes.ensure(SLOWLY)
    assert "clearing an unfinished build" in nodes.logged


def test_an_install_that_fails(nodes: Nodes) -> None:
    """With uv's own words and what to do; once the cause is gone, it goes on."""
    wanted = serving("not-there==1")
    with pytest.raises(ClusterError, match=r"uv pip install failed") as refused:
        nodes.ensure(wanted)
    assert "not-there" in (refused.value.cause or "")
    assert refused.value.cure
    assert nodes.record["error"]["message"] == refused.value.message
    assert nodes.cai.fake.log(JOB).strip().endswith(str(refused.value).splitlines()[-1])
    assert not nodes.ready(wanted)


def test_packages_that_do_not_work(nodes: Nodes) -> None:
    """They are tried before they count as there."""
    wanted = serving(imports=("tiny_thing", "not_there"))
    with pytest.raises(ClusterError, match=r"can't be imported(.|\n)*No module named 'not_there'"):
        nodes.ensure(wanted)
    assert not nodes.ready(wanted)


def test_a_runtime_with_another_python(nodes: Nodes) -> None:
    """Is refused before anything is built."""
    with pytest.raises(ClusterError, match=r"for Python 3\.9, and this runtime has Python 3\.1"):
        nodes.ensure(replace(serving(), python="3.9"))


def test_there_is_no_room_for_the_run(nodes: Nodes) -> None:
    """The platform's refusal is told; with room, the same command goes on."""
    nodes.cai.settings.limits = Limits(cpu=1)
    with pytest.raises(ClusterError, match=rf"no room for the job {JOB} \(2 CPUs, 8 GB\)") as refused:
        nodes.ensure(serving())
    assert "out of quota" in (refused.value.cause or "")
    assert refused.value.topic == "cai-quota"
    nodes.cai.settings.limits = Limits()
    nodes.ensure(serving())


@pytest.mark.parametrize("second", ["refuse", "skip"])
def test_two_operators_at_once(nodes: Nodes, pool: ThreadPoolExecutor, second: str) -> None:
    """Want the same: they share the job and its one run."""
    nodes.cai.settings.second_run = "skip" if second == "skip" else "refuse"
    both = [pool.submit(nodes.ensure, SLOWLY) for _ in range(2)]
    nodes.wait_for_the_import()
    nodes.open_the_gate()
    for one in both:
        one.result(30)
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    assert [run.status for run in nodes.cai.client.jobs.runs(nodes.cai.project, job.id) if run.status != "skipped"] == [
        "succeeded"
    ]


def test_another_operator_wants_something_else(nodes: Nodes, pool: ThreadPoolExecutor) -> None:
    """Its run is waited for, and the failure of that is none of ours."""
    failing = replace(SLOWLY, imports=("tiny_slow", "not_there"))
    first = pool.submit(nodes.ensure, failing)
    nodes.wait_for_the_import()
    second = pool.submit(nodes.ensure, serving())
    until(
        "the second one follows the run",
        lambda: [d for _, d in nodes.told].count("telling the job what to make") == 2,
        10,
    )
    nodes.open_the_gate()
    with pytest.raises(ClusterError, match="not_there"):
        first.result(30)
    assert second.result(30)[-1] == ("environment", "ready")
    assert nodes.ready(serving())


def test_the_key_ends_meanwhile(nodes: Nodes, pool: ThreadPoolExecutor) -> None:
    """The command ends, the job does not; with a new key the command takes part in it again."""
    fake = nodes.cai.fake
    other = fake.add_key()
    with CaiClient(replace(fake.workspace, key=other)) as client:
        first = pool.submit(nodes.ensure, SLOWLY, None, client)
        nodes.wait_for_the_import()
        until("it is shown", lambda: CHECKING in nodes.told, 10)
        fake.revoke(other)
        with pytest.raises(KeyRefusedError, match="make a new key"):
            first.result(30)
    again = pool.submit(nodes.ensure, SLOWLY)
    until("it follows", lambda: nodes.told.count(CHECKING) == 2, 10)
    nodes.open_the_gate()
    again.result(30)
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    assert len(nodes.cai.client.jobs.runs(nodes.cai.project, job.id)) == 1


def test_ctrl_c_stops_the_run_that_the_command_has_started(nodes: Nodes, pool: ThreadPoolExecutor) -> None:
    """And no other: somebody else waits for it."""
    first = pool.submit(nodes.ensure, SLOWLY)
    nodes.wait_for_the_import()
    with pytest.raises(KeyboardInterrupt):
        nodes.ensure(SLOWLY, enough="checking")
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    (run,) = nodes.cai.client.jobs.runs(nodes.cai.project, job.id)
    assert run.status == "running"
    nodes.cai.client.jobs.stop(nodes.cai.project, job.id, run.id)
    with pytest.raises(ClusterError, match="was stopped"):
        first.result(30)
    with pytest.raises(KeyboardInterrupt):
        nodes.ensure(SLOWLY, enough="checking")
    last = max(nodes.cai.client.jobs.runs(nodes.cai.project, job.id), key=lambda one: str(one.created_at))
    nodes.cai.ran(job.id, last, "stopped")


def test_a_disk_that_takes_nothing(nodes: Nodes) -> None:
    """As a full one: the run can say nothing there, which is what can be said."""
    place = nodes.folder / shared.cluster_folder("demo")
    place.parent.mkdir(parents=True)
    place.touch()
    with pytest.raises(ClusterError, match="failed before it could say why") as told:
        nodes.ensure(serving())
    assert SILENT in (told.value.cause or "")
    place.unlink()
    nodes.ensure(serving())


def test_a_job_that_is_removed_meanwhile(nodes: Nodes, pool: ThreadPoolExecutor) -> None:
    """As `rayllm down` does from elsewhere: that is said, and the next call begins again."""
    first = pool.submit(nodes.ensure, SLOWLY)
    nodes.wait_for_the_import()
    (job,) = nodes.cai.client.jobs.all(nodes.cai.project)
    nodes.cai.client.jobs.delete(nodes.cai.project, job.id)
    with pytest.raises(ClusterError, match=f"the job {JOB} was removed while it ran") as told:
        first.result(30)
    assert told.value.topic == "another-operator"
    nodes.open_the_gate()
    nodes.ensure(SLOWLY)
    assert nodes.ready(SLOWLY)


def test_two_jobs_of_one_name(nodes: Nodes) -> None:
    """As two operators could make them at once: the older one is used by both."""
    first, second = nodes.cai.job("server.py", JOB), nodes.cai.job("server.py", JOB)
    nodes.ensure(serving())
    runs = [len(nodes.cai.client.jobs.runs(nodes.cai.project, job)) for job in (first, second)]
    assert runs == [1, 0]


def test_packages_from_the_folders_of_the_file(nodes: Nodes) -> None:
    """`packages:` counts for the nodes' environment as it does for the engines'."""
    (nodes.folder / ".config" / "pip" / "pip.conf").unlink()
    packages = {"find_links": [str(nodes.wheels)], "offline": True}
    models = preparation(a="tiny")
    models = replace(models, models=[{**model, "packages": packages} for model in models.models])
    nodes.ensure(serving(), models)
    assert nodes.ready(serving())


def test_two_programs_on_one_disk(nodes: Nodes) -> None:
    """As of two jobs, or of an operator's and the project's own: the second waits, and finds all made."""
    environments = Environments(nodes.cai.client, nodes.cai.project, nodes.wanted(SLOWLY), SLOWLY, None)
    environments.upload()
    program = nodes.folder / shared.CODE / nodes.code.digest / "rayllm_backend_cai/bootstrap/build.py"
    environ = {"PATH": os.environ["PATH"], "HOME": str(nodes.folder), **environments.new_job().environment}
    argv = [sys.executable, "-S", "-u", str(program)]
    with subprocess.Popen(argv, env=environ) as first:
        nodes.wait_for_the_import()
        with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout
            assert second.stdout.readline() == (
                "environment: waiting for another job that builds the same environment\n"
            )
            nodes.open_the_gate()
            assert second.stdout.read() == "everything is there\n"
    assert (first.returncode, second.returncode) == (0, 0)


def test_code_that_was_damaged_on_its_way(nodes: Nodes) -> None:
    """Is told of; what is left of it is no code."""
    with pytest.raises(ClusterError, match=r"the code f00d can't be unpacked(.|\n)*not a zip file"):
        nodes.ensure(serving(), replace(preparation(a="tiny"), code=b"half of it"))
    assert [path.name for path in (nodes.folder / shared.CODE).glob("*f00d*")] == ["f00d.zip"]


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        ({"a": "broken"}, r"model a: no such engine\n  cause  its plugin\n  do     install it\n.*explain plugin"),
        ({"a": "broken", "b": "tiny", "c": "broken"}, r"of 2 of 3 models(.|\n)*a: no such(.|\n)*c: no such"),
        ({"a": "crashes"}, r"broke off with status 1(.|\n)*out of luck"),
    ],
)
def test_models_that_cannot_be_prepared(nodes: Nodes, engines: dict[str, str], said: str) -> None:
    """The nodes' environment is there nevertheless, and is not made again."""
    with pytest.raises(ClusterError, match=said):
        nodes.ensure(serving(), preparation(**engines))
    assert nodes.ready(serving())
    nodes.ensure(serving(), preparation(a="tiny"))
    assert "Installed" not in nodes.logged
