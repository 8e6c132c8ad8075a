"""Applications as the platform runs them: states, real processes, and how they end."""

from __future__ import annotations

import json
import os

import httpx
import psutil
import pytest
from tests.cai import Cai
from tests.conftest import command_of, until

from rayllm_backend_cai.api import CaiError, NotFoundError
from rayllm_backend_cai.testing import Limits

KERNEL = '''
"""The first cell."""
import asyncio, os, sys
print("file", "__file__" in globals(), "name", __name__, "argv", sys.argv)
print("loop", asyncio.get_running_loop().is_running())
print("cwd", os.getcwd() == os.environ["HOME"], "path", repr(sys.path[0]))
nothing = asyncio.sleep(0)
try:
    asyncio.run(nothing)
except RuntimeError as error:
    print("run", error)
nothing.close()
print("awaited", await asyncio.sleep(0, "yes"))
sys.exit(3)
'''
EATS = "eaten = bytearray(300 << 20)\nimport time\ntime.sleep(600)\n"
LEAVES_CHILDREN = """
import subprocess, sys, time
code = "import time; time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env={})
subprocess.Popen(["setsid", "--fork", sys.executable, "-c", code], env={"PATH": "/usr/bin:/bin"})
time.sleep(600)
"""


def test_a_script_runs_as_in_a_kernel(cai: Cai) -> None:
    """No `__file__`, a loop that runs already, the project's folder; when it ends, the application has failed."""
    cai.write(kernel=KERNEL)
    failed = cai.start(script="kernel.py", status="failed")
    assert cai.fake.log("app").splitlines() == [
        "file False name __main__ argv ['ipykernel_launcher']",
        "loop True",
        "cwd True path ''",
        "run asyncio.run() cannot be called from a running event loop",
        "awaited yes",
    ]
    assert failed.stopped_at
    (usage,) = cai.client.account.usage()
    assert (usage.status, usage.k8s_info.k8s_exit_code, usage.k8s_info.k8s_reason) == ("failed", 3, "Error")
    assert not usage.oom_killed


@pytest.mark.parametrize(
    ("script", "log"), [("raise ValueError('no')", "ValueError: no"), ("x = 1", ""), ("(", "Synta")]
)
def test_the_scripts_end_is_the_applications(cai: Cai, script: str, log: str) -> None:
    """Whether it went well or not, and nothing starts it again."""
    cai.write(ends=script)
    failed = cai.start(script="ends.py", status="failed")
    assert log in cai.fake.log("app")
    assert cai.client.applications.get(cai.project, failed.id).status == "failed"
    assert len(cai.fake.workloads("app")) == 1


def test_what_a_pod_sees(cai: Cai) -> None:
    """The platform's variables, the project's, and its own over them."""
    cai.client.projects.merge_environment(cai.project, {"SHARED": "project", "MINE": "project"})
    cai.start(environment={"MINE": "application"}, cpu=2, memory=3)
    told = json.loads(cai.browse("app", key=cai.fake.key).text)
    env, pod = told["env"], cai.fake.pod("app")
    assert env["CDSW_IP_ADDRESS"] == pod.address
    assert pod.address.startswith("127.")
    assert env["CDSW_ENGINE_ID"] == pod.engine
    assert (env["SHARED"], env["MINE"]) == ("project", "application")
    assert env["CDSW_APIV2_KEY"] == cai.fake.key
    assert env["CDSW_API_URL"].endswith("/api/v1")
    assert env["HOME"] == told["cwd"] == str(cai.fake.folder(cai.project))
    assert (env["CDSW_CPU_MILLICORES"], env["CDSW_MEMORY_MB"]) == ("2000", "3072")
    assert "RAYLLM_HOME" not in env
    cai.start("second")
    seen = json.loads(cai.browse("second", key=cai.fake.key).text)["env"]
    assert f"DS_RUNTIME_{pod.engine.upper()}_SERVICE_PORT_APP" in seen


def test_it_runs_once_its_polled_path_answers(cai: Cai) -> None:
    """Any other answer than 200 leaves it STARTING."""
    starting = cai.start(environment={"CDSW_APP_POLLING_ENDPOINT": "/not-yet"}, status="starting")
    until("it listens", lambda: cai.browse("app", key=cai.fake.key).status_code == 200, 20)
    assert cai.client.applications.get(cai.project, starting.id).status == "starting"
    ready = cai.start("other", environment={"CDSW_APP_POLLING_ENDPOINT": "/healthz"})
    assert ready.running_at
    assert cai.client.applications.get(cai.project, starting.id).running_at is None


def test_the_platforms_delays_are_on_its_own_clock(cai: Cai) -> None:
    """A start of minutes takes none here, and every state is seen."""
    cai.fake.clock.freeze()
    cai.settings.starting_s = cai.settings.stopping_s = cai.settings.deleting_s = 300.0
    apps = cai.client.applications
    made = apps.create(cai.project, cai.new())
    assert made.status == "starting"
    assert cai.fake.pod("app").processes() == []
    cai.fake.clock.advance(301)
    cai.wait(made, "running")
    assert apps.stop(cai.project, made.id).status == "stopping"
    until("its processes are gone", lambda: cai.fake.workloads("app")[0].finished, 20)
    assert apps.get(cai.project, made.id).status == "stopping"
    cai.fake.clock.advance(301)
    stopped = cai.wait(made, "stopped")
    assert stopped.stopped_at
    assert apps.delete(cai.project, made.id)
    assert [app.id for app in apps.all(cai.project)] == [made.id]
    cai.fake.clock.advance(301)
    until("it is gone from the list", lambda: not apps.all(cai.project), 20)
    assert not apps.delete(cai.project, made.id)


def test_a_restart_is_another_pod(cai: Cai) -> None:
    """With another address and engine, and what was changed meanwhile."""
    app = cai.start(environment={"A": "1"})
    first = cai.fake.pod("app")
    changed = cai.client.applications.update(cai.project, app.id, environment={"A": "2"}, cpu=3)
    assert (changed.environment, changed.cpu) == ({"A": "2"}, 3)
    assert json.loads(cai.browse("app", key=cai.fake.key).text)["env"]["A"] == "1"
    again = cai.client.applications.restart(cai.project, app.id)
    assert again.status == "starting"
    assert again.running_at is None
    cai.wait(app, "running")
    second = cai.fake.pod("app")
    assert first.address != second.address
    assert first.engine != second.engine
    assert json.loads(cai.browse("app", key=cai.fake.key).text)["env"]["A"] == "2"
    cai.client.applications.stop(cai.project, app.id)
    cai.wait(app, "stopped")
    cai.client.applications.restart(cai.project, app.id)
    cai.wait(app, "running")


def test_stuck_and_restarted_it_leaves_an_orphan(cai: Cai) -> None:
    """Its processes go on, and nobody in the API knows of them; what it held stays held."""
    cai.settings.limits = Limits(cpu=2)
    app = cai.start(environment={"CDSW_APP_POLLING_ENDPOINT": "/not-yet"}, status="starting")
    until("it runs", lambda: cai.fake.pod("app").processes(), 20)
    orphan = cai.fake.pod("app")
    cai.client.applications.restart(cai.project, app.id)
    until("the second one runs", lambda: cai.fake.pod("app").processes(), 20)
    cai.client.applications.stop(cai.project, app.id)
    cai.wait(app, "stopped")
    assert orphan.processes()
    assert [one.pod for one in cai.fake.workloads() if one.orphan] == [orphan]
    (usage,) = (one for one in cai.client.account.usage() if one.id == orphan.engine)
    assert usage.status == "running"
    cai.settings.stuck = frozenset({"never"})
    never = cai.client.applications.create(cai.project, cai.new("never"))
    assert cai.client.applications.get(cai.project, never.id).status == "starting"
    assert cai.fake.pod("never").processes() == []


def test_nothing_outlives_a_stop(cai: Cai) -> None:
    """Children in sessions of their own, with no variable of ours, neither."""
    cai.write(children=LEAVES_CHILDREN)
    app = cai.start(script="children.py", status="starting")
    pod = cai.fake.pod("app")
    until("all run", lambda: sum("sleep(600)" in command_of(one.pid) for one in pod.processes()) == 2, 20)
    pids = [one.pid for one in pod.processes()]
    cai.client.applications.stop(cai.project, app.id)
    cai.wait(app, "stopped")
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


def test_too_much_memory(cai: Cai) -> None:
    """It is killed, and the page of usage alone says why."""
    cai.write(eats=EATS)
    cai.start(script="eats.py", memory=0.1, status="failed")
    (usage,) = cai.client.account.usage()
    assert usage.oom_killed
    assert usage.k8s_info.k8s_reason == "OOMKilled"
    assert usage.k8s_info.k8s_exit_code == 137


def test_killed_by_another_hand(cai: Cai) -> None:
    """A pod that is lost: failed, and not for memory."""
    app = cai.start()
    cai.fake.pod("app").kill()
    cai.wait(app, "failed")
    (usage,) = cai.client.account.usage()
    assert (usage.oom_killed, usage.k8s_info.k8s_exit_code) == (False, 137)
    assert cai.browse("app", key=cai.fake.key).status_code == 502


def test_a_subdomain_that_is_taken(cai: Cai) -> None:
    """Refused, given another name, or made and never reached."""
    cai.start(subdomain="same")
    with pytest.raises(CaiError, match="already in use"):
        cai.client.applications.create(cai.project, cai.new("second", subdomain="same"))
    cai.settings.taken_subdomain = "suffix"
    other = cai.start("third", subdomain="same")
    assert other.subdomain.startswith("same-")
    assert cai.browse(other.subdomain, key=cai.fake.key).status_code == 200
    cai.settings.taken_subdomain = "conflict"
    conflict = cai.start("fourth", subdomain="same", status="starting")
    until("it listens", lambda: _listens(cai, "fourth"), 20)
    assert cai.client.applications.get(cai.project, conflict.id).status == "starting"


def _listens(cai: Cai, name: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{cai.fake.pod(name).ports.app}").status_code == 200
    except httpx.TransportError:
        return False


def test_what_is_gone_holds_no_subdomain(cai: Cai) -> None:
    """From the moment on that no list shows it, though its processes still end."""
    cai.fake.clock.freeze()
    first = cai.start(script="wait.py", status="starting")
    cai.client.applications.delete(cai.project, first.id)
    assert cai.client.applications.all(cai.project) == []
    assert cai.client.applications.create(cai.project, cai.new()).id != first.id


def test_over_quota(cai: Cai) -> None:
    """Refused at once, or waiting until there is room, as the workspace has it."""
    cai.settings.limits = Limits(cpu=2, memory=4)
    first = cai.start(cpu=2)
    with pytest.raises(CaiError, match="CPU request limit reached"):
        cai.client.applications.create(cai.project, cai.new("second"))
    cai.settings.over_limit = "wait"
    waiting = cai.client.applications.create(cai.project, cai.new("second"))
    (quota,) = cai.client.account.quotas()
    assert (quota.quota_usage.cpu, quota.quota_configured.cpu, quota.quota_configured.nvidia_gpu) == (2, 2, None)
    assert cai.fake.pod("second").processes() == []
    assert cai.client.applications.get(cai.project, waiting.id).status == "starting"
    cai.client.applications.delete(cai.project, first.id)
    cai.wait(waiting, "running")
    cai.settings.over_limit = "refuse"
    cai.client.applications.update(cai.project, waiting.id, cpu=3)
    with pytest.raises(CaiError, match="CPU request limit reached"):
        cai.client.applications.restart(cai.project, waiting.id)
    assert cai.client.applications.get(cai.project, waiting.id).status == "stopped"


def test_a_deleted_project_leaves_nothing(cai: Cai) -> None:
    """No process, no file, no row; however long the platform takes to stop."""
    cai.fake.clock.freeze()
    cai.settings.stopping_s = 300.0
    cai.start()
    job = cai.job("wait.py")
    cai.ran(job, cai.client.jobs.start(cai.project, job), "running")
    folder = cai.fake.folder(cai.project)
    pids = [one.pid for name in ("app", "job") for one in cai.fake.pod(name).processes()]
    assert len(pids) == 2
    assert cai.client.projects.delete(cai.project)
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert not folder.exists()
    with pytest.raises(NotFoundError):
        cai.client.projects.get(cai.project)
    assert not cai.client.projects.delete(cai.project)


def test_the_environment_is_not_shown(cai: Cai) -> None:
    """Neither by what the client returns nor by what it sends, where somebody prints them."""
    secret = os.urandom(8).hex()
    new = cai.new(environment={"PASSWORD": secret})
    made = cai.client.applications.create(cai.project, new)
    assert made.environment == {"PASSWORD": secret}
    assert secret not in repr(new) + repr(made) + repr(cai.calls)
    assert cai.fake.key not in repr(cai.fake.workspace)
