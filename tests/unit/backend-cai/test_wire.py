"""The API as it goes over the wire, without our client: what the client must bear with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.cai import Cai


@pytest.fixture
def wire(cai: Cai) -> Iterator[httpx.Client]:
    """A plain client with the key."""
    headers = {"authorization": f"Bearer {cai.fake.key}"}
    with httpx.Client(base_url=f"{cai.fake.url}/api/v2", headers=headers) as client:
        yield client


def _app(cai: Cai, name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "subdomain": name, "script": "wait.py", "runtime_identifier": cai.fake.image, **more}


def test_who_gets_in(cai: Cai) -> None:
    """Each refusal with its own status, in grpc-gateway's form; the document of the API is open."""
    url = f"{cai.fake.url}/api/v2/nodelabels"
    nobody = httpx.get(url)
    message = 'no "authorization" header'
    assert (nobody.status_code, nobody.json()) == (
        401,
        {"error": message, "code": 16, "message": message, "details": []},
    )
    wrong = {
        "Bearer x": (500, "malformed apikey"),
        f"Bearer {'0' * 64}.{'0' * 64}": (401, "invalid apikey"),
        f"Bearer {cai.fake.add_key('Application')}": (403, "audience mismatch"),
    }
    for key, told in wrong.items():
        answer = httpx.get(url, headers={"AUTHORIZATION": key})
        assert (answer.status_code, answer.json()["message"]) == told
    document = httpx.get(f"{cai.fake.url}/api/v2/swagger.json").json()
    assert "/api/v2/projects/{project}/applications/{application}:restart" in document["paths"]
    page = httpx.get(f"{cai.fake.url}/somewhere")
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (404, "text/html")
    assert (
        httpx.get(f"{cai.fake.url}/api/v2/whoami", headers={"authorization": f"Bearer {cai.fake.key}"}).json()["code"]
        == 5
    )


def test_a_reply_is_written_as_there(cai: Cai, wire: httpx.Client) -> None:
    """Zero and false are written, 64-bit numbers are text, an environment is a string, statuses have prefixes."""
    body = _app(cai, "app", environment={"A": "1"}, accelerator_label_id=1, unknown={"x": 1}, project_visibility="x")
    answer = wire.post(f"/projects/{cai.project}/applications", json=body)
    row = answer.json()
    assert answer.status_code == 200
    assert json.loads(row["environment"]) == {"A": "1"}
    expected = {"status": "APPLICATION_STARTING", "accelerator_label_id": "1", "nvidia_gpu": 0, "cpu": 1.0}
    expected |= {"bypass_authentication": False, "stopped_at": None, "kernel": "", "runtime_addon_identifiers": []}
    assert {name: row[name] for name in expected} == expected
    assert row["created_at"].endswith("Z")
    assert len(row["id"]) == 19
    assert not row.keys() & {"url", "unknown", "project_visibility"}
    job = {"name": "job", "script": "wait.py", "runtime_identifier": cai.fake.image, "timeout": 60}
    made = wire.post(f"/projects/{cai.project}/jobs", json=job).json()
    assert (made["timeout"], made["timezone"], made["type"]) == ("60", "America/Los_Angeles", "manual")
    run = wire.post(f"/projects/{cai.project}/jobs/{made['id']}/runs").json()
    assert (run["status"], len(run["id"])) == ("ENGINE_SCHEDULING", 16)
    listed = wire.get(f"/projects/{cai.project}/jobs/{made['id']}/runs").json()
    assert listed.keys() == {"job_runs", "next_page_token"}
    assert wire.delete(f"/projects/{cai.project}/applications/{row['id']}").json() == {}


@pytest.mark.parametrize(
    "wrong",
    [{"cpu": "much"}, {"environment": "{}"}, {"environment": {"A": 1}}, {"bypass_authentication": "yes"}, {"name": 1}],
    ids=str,
)
def test_a_wrong_type_is_refused(cai: Cai, wire: httpx.Client, wrong: dict[str, Any]) -> None:
    """With 400 and the field's name."""
    answer = wire.post(f"/projects/{cai.project}/applications", json={**_app(cai, "app"), **wrong})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert next(iter(wrong)) in answer.json()["message"]


def test_patch_takes_another_form_than_post(cai: Cai, wire: httpx.Client) -> None:
    """An environment as a string; what is not in it stays, also what nobody may change."""
    row = wire.post(f"/projects/{cai.project}/applications", json=_app(cai, "app", environment={"A": "1"})).json()
    path = f"/projects/{cai.project}/applications/{row['id']}"
    refused = wire.patch(path, json={"environment": {"B": "2"}})
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    changed = wire.patch(path, json={"environment": '{"B":"2"}', "id": "other", "status": "APPLICATION_FAILED"}).json()
    assert json.loads(changed["environment"]) == {"B": "2"}
    assert (changed["id"], changed["name"], changed["status"]) == (row["id"], "app", row["status"])
    for body, why in ((_app(cai, "x", runtime_identifier=""), "runtime image"), (_app(cai, "x--y"), "Subdomain")):
        answer = wire.post(f"/projects/{cai.project}/applications", json=body)
        assert answer.status_code == 400
        assert why in answer.json()["message"]


def test_pages(cai: Cai, wire: httpx.Client) -> None:
    """Ten rows unless told, with a token that belongs to that size; both spellings of the parameters."""
    for number in range(12):
        cai.fake.add_project(f"many-{number:02}")
    first = wire.get("/projects").json()
    assert len(first["projects"]) == 10
    second = wire.get("/projects", params={"pageToken": first["next_page_token"]}).json()
    assert (len(second["projects"]), second["next_page_token"]) == (3, "")
    other = wire.get("/projects", params={"page_size": 5, "page_token": first["next_page_token"]})
    assert other.status_code == 400
    found = wire.get("/projects", params={"searchFilter": '{"name":"many-1"}', "sort": "-name"}).json()
    assert [row["name"] for row in found["projects"]] == ["many-11", "many-10"]
    assert wire.get("/projects", params={"search_filter": '{"name":"MANY"}'}).json()["projects"] == []
    assert wire.get("/projects", params={"search_filter": '{"owner.username":"u1"}'}).json()["projects"]
    assert wire.get("/projects", params={"search_filter": "name"}).status_code == 400
    assert len(cai.client.projects.named("many-07")) == 1


def test_the_client_reads_every_page(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same size and the token of the page before."""
    monkeypatch.setattr("rayllm_backend_cai.api.pages.PAGE_SIZE", 5)
    made = {cai.fake.add_project("same") for _ in range(12)}
    assert {one.id for one in cai.client.projects.named("same")} == made
    assert len(cai.calls) == 3


def test_a_status_is_searched_by_its_bare_word(cai: Cai) -> None:
    """And written with its prefix."""
    cai.start(script="wait.py", status="starting")
    assert [app.status for app in cai.client.applications.all(cai.project, {"status": "starting"})] == ["starting"]
    assert cai.client.applications.all(cai.project, {"status": "APPLICATION_STARTING"}) == []


def test_what_is_new_stands_in_lists_later(cai: Cai) -> None:
    """By its id it is there at once."""
    cai.settings.list_lag_s = 30.0
    made = cai.client.applications.create(cai.project, cai.new())
    assert cai.client.applications.named(cai.project, "app") == []
    assert cai.client.applications.get(cai.project, made.id).id == made.id
    cai.fake.clock.advance(31)
    assert [app.id for app in cai.client.applications.named(cai.project, "app")] == [made.id]


def test_faults_and_the_log_of_calls(cai: Cai, wire: httpx.Client) -> None:
    """The second call of a kind, a slow one, and who asked what."""
    from rayllm_backend_cai.testing import Fault

    cai.fake.faults.add(Fault(path="/usage", skip=1, status=503, retry_after="7"), Fault(path="/runtimes", delay_s=0.3))
    assert [wire.get("/usage").status_code for _ in range(3)] == [200, 503, 200]
    with pytest.raises(httpx.ReadTimeout):
        wire.get("/runtimes", timeout=0.1)
    assert wire.get("/runtimes").status_code == 200
    asked = [(call.method, call.path, call.status) for call in cai.fake.calls if call.path == "/usage"]
    assert asked == [("GET", "/usage", 200), ("GET", "/usage", 503), ("GET", "/usage", 200)]


def test_what_some_installations_lack(wire: httpx.Client) -> None:
    """And what an ordinary key may not see."""
    assert wire.get("/cpuprofiles").json()["code"] == 12
    assert wire.get("/workloads/executions").json() == {
        "code": 7,
        "error": "User is not an observability machine user",
        "message": "User is not an observability machine user",
        "details": [],
    }
    assert "running" in wire.get("/workloadstatus").json()["workload_status"]
    assert wire.get("/runtimeaddons").json()["runtime_addons"] == []
    (label,) = wire.get("/nodelabels").json()["accelerator_node_label"]
    assert (label["id"], label["default_quota"]) == ("1", "0")
