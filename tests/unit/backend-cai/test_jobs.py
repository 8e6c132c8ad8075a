"""Jobs and their runs."""

from __future__ import annotations

import pytest
from tests.cai import Cai
from tests.conftest import until

from rayllm_backend_cai.api import CaiError, NotFoundError, QuotaError
from rayllm_backend_cai.api.jobs import RUN_MARK
from rayllm_backend_cai.api.records import ENDED
from rayllm_backend_cai.testing import Limits

TELLS = """
import os, shlex, sys
print(shlex.split(os.environ["JOB_ARGUMENTS"]), os.environ.get("A"), os.environ.get("B"), len(sys.argv))
"""


def test_arguments_and_environment_reach_the_script(cai: Cai) -> None:
    """The run's over the job's; arguments as a variable and not on the command line."""
    cai.write(tells=TELLS)
    job = cai.job("tells.py", arguments="--of job", environment={"A": "job", "B": "job"})
    run = cai.client.jobs.start(cai.project, job, arguments="--x '1 2'", environment={"A": "run"})
    assert run.status == "scheduling"
    assert run.environment.keys() == {"A", RUN_MARK}
    ended = cai.ran(job, run, "succeeded")
    assert cai.fake.log("job") == "['--x', '1 2'] run job 1\n"
    assert ended.running_at
    assert ended.finished_at
    again = cai.client.jobs.start(cai.project, job)
    cai.ran(job, again, "succeeded")
    assert cai.fake.log("job") == "['--of', 'job'] job job 1\n"
    assert {one.id for one in cai.client.jobs.runs(cai.project, job)} == {run.id, again.id}


def test_a_failure_is_told_without_a_reason(cai: Cai) -> None:
    """The exit status stands in the page of usage alone."""
    cai.write(fails="raise SystemExit(7)")
    job = cai.job("fails.py")
    cai.ran(job, cai.client.jobs.start(cai.project, job), "failed")
    (usage,) = cai.client.account.usage({"name": "job"})
    assert (usage.workload_type, usage.status, usage.k8s_info.k8s_exit_code) == ("Job", "failed", 7)


def test_one_run_at_a_time(cai: Cai) -> None:
    """A second one is refused or skipped; after a stop there may be another."""
    job = cai.job("wait.py")
    run = cai.client.jobs.start(cai.project, job)
    cai.ran(job, run, "running")
    cai.settings.second_run = "skip"
    skipped = cai.client.jobs.start(cai.project, job)
    assert skipped.status == "skipped"
    assert skipped.status in ENDED
    cai.settings.stopping_s = 10.0
    cai.fake.clock.freeze()
    assert cai.client.jobs.stop(cai.project, job, run.id).status == "stopping"
    cai.fake.clock.advance(11)
    cai.ran(job, run, "stopped")
    cai.ran(job, cai.client.jobs.start(cai.project, job), "running")


def test_a_run_that_takes_too_long(cai: Cai) -> None:
    """It is ended if the job says so, and goes on otherwise."""
    cai.fake.clock.freeze()
    kills, goes_on = cai.job("wait.py", "kills", timeout=60, kill_on_timeout=True), cai.job("wait.py", "on", timeout=60)
    ended, running = (cai.client.jobs.start(cai.project, job) for job in (kills, goes_on))
    for job, run in ((kills, ended), (goes_on, running)):
        cai.ran(job, run, "running")
    cai.fake.clock.advance(61)
    cai.ran(kills, ended, "timedout")
    assert cai.client.jobs.run(cai.project, goes_on, running.id).status == "running"
    assert cai.client.jobs.get(cai.project, kills).timeout == 60


def test_a_chain(cai: Cai) -> None:
    """The next one starts when its parent went well, and only then."""
    cai.write(good="print('good')", bad="1 / 0")
    first = cai.job("good.py", "first")
    second = cai.job("bad.py", "second", parent_id=first)
    third = cai.job("good.py", "third", parent_id=second)
    cai.client.jobs.start(cai.project, first)
    run = until("the second one started", lambda: cai.client.jobs.runs(cai.project, second), 20)[0]
    cai.ran(second, run, "failed")
    assert cai.client.jobs.runs(cai.project, third) == []
    assert cai.client.jobs.get(cai.project, third).type == "dependent"


def test_what_a_change_changes(cai: Cai) -> None:
    """What stands in it, the whole environment, and neither pause nor time zone."""
    job = cai.job("wait.py", arguments="-x", environment={"A": "1"}, cpu=2)
    changed = cai.client.jobs.update(cai.project, job, environment={"B": "2"}, paused=True, timezone="UTC")
    assert (changed.environment, changed.arguments, changed.cpu) == ({"B": "2"}, "-x", 2)
    assert cai.client.jobs.update(cai.project, job, arguments="").arguments == ""
    with pytest.raises(CaiError, match="need runtime_identifier"):
        cai.client.jobs.update(cai.project, job, runtime_addon_identifiers=["x"])


def test_quota_and_what_is_not_there(cai: Cai) -> None:
    """Refused when it would start."""
    cai.settings.limits = Limits(memory=2)
    job = cai.job("wait.py", memory=3)
    with pytest.raises(QuotaError, match="memory request limit"):
        cai.client.jobs.start(cai.project, job)
    with pytest.raises(NotFoundError):
        cai.client.jobs.run(cai.project, job, "none")
    with pytest.raises(CaiError, match="upload the script"):
        cai.job("none.py")
    assert cai.client.jobs.delete(cai.project, job)
    assert not cai.client.jobs.delete(cai.project, job)
    assert cai.client.jobs.all(cai.project) == []
