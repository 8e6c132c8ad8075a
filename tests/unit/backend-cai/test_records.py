"""What the client makes of replies that are sparse, odd or new, and what it keeps to itself."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cai import Cai

from rayllm_backend_cai.api import CaiClient, CaiError
from rayllm_backend_cai.api.records import Application, Job, NewApplication, NewProject, NodeLabel, Project
from rayllm_backend_cai.api.wire import patch, word
from rayllm_backend_cai.testing import Fault, Settings

PAGE = (Path(__file__).parents[3] / "docs/cai-fake.md").read_text()


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("APPLICATION_RUNNING", "running"),
        ("ENGINE_TIMEDOUT", "timedout"),
        ("running", "running"),
        ("APPLICATION_PAUSED_BY_ADMIN", "paused_by_admin"),
        ("ENGINE_TIMEOUT", "timeout"),
    ],
)
def test_statuses(told: str, read: str) -> None:
    """Without their prefix, in lower case; those that are new are kept."""
    assert word(told) == read
    assert Application(id="a", status=told).status == read


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"environment": '{"CDSW_APP_POLLING_ENDPOINT":"\\/\\/"}'}, {"CDSW_APP_POLLING_ENDPOINT": "//"}),
        ({"environment": ""}, {}),
        ({"environment": None}, {}),
        ({}, {}),
        ({"environment": {"A": "1"}}, {"A": "1"}),
        ({"environment": '{"A": 1}'}, {"A": "1"}),
    ],
)
def test_environments(told: dict[str, Any], read: dict[str, str]) -> None:
    """From text, from a mapping, and where there is none."""
    assert Project.model_validate({"id": "p", **told}).environment == read


def test_numbers_as_text_and_nothing() -> None:
    """64-bit numbers come as text, and all may be absent, null or empty."""
    assert NodeLabel.model_validate({"id": "1", "max_gpu_count": "4", "current_gpu_count": ""}).max_gpu_count == 4
    job = Job.model_validate({"id": "j", "timeout": "60", "cpu": None, "created_at": "", "new_key": {"x": 1}})
    assert (job.timeout, job.cpu, job.created_at) == (60, 0, None)


def test_what_is_sent() -> None:
    """A mapping when something is made, a string when it is changed; 64-bit numbers as text."""
    new = NewApplication(
        name="a", subdomain="a", script="a.py", runtime_identifier="r", environment={"A": "1"}, accelerator_label_id=2
    )
    body = new.body()
    assert (body["environment"], body["accelerator_label_id"], body["memory"]) == ({"A": "1"}, "2", 1)
    assert patch({"environment": {"A": "1"}, "cpu": 2}) == {"environment": '{"A": "1"}', "cpu": 2}
    assert NewProject(name="p").body() == {
        "name": "p",
        "visibility": "private",
        "template": "blank",
        "default_project_engine_type": "ml_runtime",
    }


def test_a_reply_of_another_form_is_told_without_its_values(cai: Cai) -> None:
    """They may be secret."""
    secret = "not-to-be-seen"
    cai.fake._world.project(cai.project).row["environment"] = f'["{secret}"]'
    with pytest.raises(CaiError, match="Project of another form: environment") as error:
        cai.client.projects.get(cai.project)
    assert secret not in str(error.value)
    assert error.value.__cause__ is None


def test_a_slow_answer_is_asked_for_again(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time that is long enough for one that is well."""
    monkeypatch.setattr("rayllm_backend_cai.api.transport.TIMEOUT_S", 0.5)
    cai.fake.faults.add(Fault(path="/nodelabels", delay_s=3))
    with CaiClient(cai.fake.workspace, on_call=cai.calls.append, sleep=cai.pauses.append) as client:
        assert client.account.node_labels()
    assert [call.status for call in cai.calls] == [None, 200]


def test_no_secret_in_the_log(cai: Cai, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is logged, at every level."""
    caplog.set_level(logging.DEBUG)
    cai.fake.faults.add(Fault(status=503, message=f"no {cai.fake.key}"))
    cai.client.projects.merge_environment(cai.project, {"PASSWORD": "not-to-be-seen"})
    assert "/projects/" in caplog.text
    assert not re.search(f"{cai.fake.key}|not-to-be-seen", caplog.text)


@pytest.mark.parametrize("model", [Settings, Fault])
def test_everything_that_can_be_set_is_on_the_page(model: type[Settings | Fault]) -> None:
    """In its tables."""
    told = "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert [name for name in model.model_fields if f"`{name}`" not in told] == []


def test_the_pages_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as it stands there."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    quick = program.replace("CaiClient(fake.workspace)", "CaiClient(fake.workspace, sleep=lambda _: None)")
    exec(compile(quick, "docs/cai-fake.md", "exec"))  # noqa: S102 - it is a reader's program
