"""Why an application does not run, in the platform's words and its own."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cai import Cai

from rayllm_backend_cai.api.records import Application, K8sInfo, Usage
from rayllm_backend_cai.endings import SILENT, explained, last_words, told_of, why_ended
from rayllm_backend_cai.testing import Fault

APP = Application(id="a", name="demo")


def row(**told: Any) -> Usage:
    """Of the page of usage."""
    k8s = {name: told.pop(name) for name in list(told) if name.startswith("k8s_")}
    first = {"name": "demo", "workload_type": "Application", "memory": 8, "created_at": "2026-11-30T10:00:00Z"}
    return Usage.model_validate({**first, "k8s_info": K8sInfo(**k8s).model_dump(), **told})


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ([], ""),
        ([row(name="demo-2", oom_killed=True)], ""),
        ([row(workload_type="Job", oom_killed=True)], ""),
        ([row(oom_killed=True)], "out of memory: it took more than its 8 GB"),
        ([row(k8s_reason="OOMKilled", k8s_exit_code=137)], "out of memory: it took more than its 8 GB"),
        ([row(k8s_reason="Error", k8s_exit_code=3)], "its script ended with status 3"),
        ([row(k8s_reason="Completed")], "its script ended with status 0"),
        (
            [row(k8s_reason="Error", k8s_exit_code=137, message="Engine exited 137")],
            "Engine exited 137, killed by signal 9",
        ),
        ([row(k8s_reason="Evicted", k8s_message="node was low on disk")], "node was low on disk, Evicted"),
        (
            [row(status="scheduling")],
            "it waits for a place: the user's quota is used up, or no machine has room for it",
        ),
        ([row(oom_killed=True), row(message="later", created_at="2026-11-30T11:00:00Z")], "later"),
        ([row(oom_killed=True), row(message="none", created_at=None)], "out of memory: it took more than its 8 GB"),
    ],
)
def test_the_platforms_words(usage: list[Usage], told: str) -> None:
    """Of the newest start of this application."""
    assert told_of(APP, usage) == told


def test_an_application_that_ended(cai: Cai) -> None:
    """The page of usage tells, and its log's last lines."""
    cai.write(fails="raise SystemExit(3)")
    ended = cai.start(script="fails.py", status="failed")
    assert why_ended(cai.client, ended) == "Engine exited 3, its script ended with status 3"
    log = cai.fake.folder(cai.project) / ".rayllm/clusters/demo/logs/app/supervisor.log"
    told = explained(cai.client, cai.project, "demo", ended)
    assert told == f"Engine exited 3, its script ended with status 3\n{SILENT}"
    log.parent.mkdir(parents=True)
    log.write_text("one\n\ntwo\nthree\n")
    assert last_words(cai.client, cai.project, "demo", "app", lines=2) == "two\nthree"
    assert explained(cai.client, cai.project, "demo", ended).splitlines()[-1] == "three"


def test_nobody_tells(cai: Cai) -> None:
    """It is said so; that the question fails hides no error."""
    assert "neither the platform nor a log" in explained(cai.client, cai.project, "demo", APP)
    cai.fake.faults.add(Fault(path="/usage", times=None, status=403, code=7, message="no right"))
    assert explained(cai.client, cai.project, "demo", APP).startswith("why is not known: ")
