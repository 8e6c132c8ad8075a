"""What the client does when the platform refuses, fails, or leaves open what it did."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tenacity import wait_none
from tests.cai import Cai
from tests.conftest import until

from rayllm_backend_cai.api import (
    AlreadyActiveError,
    CaiClient,
    CaiError,
    Call,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    UnavailableError,
)
from rayllm_backend_cai.api.records import NewProject
from rayllm_backend_cai.api.retries import ATTEMPTS
from rayllm_backend_cai.testing import Fault, Limits
from rayllm_backend_cai.workspace import Workspace

NEVER_S = 3600.0
"""Before a script starts: the client sees none of its processes."""
Act = Callable[[Cai], object]
CALLS: dict[str, Act] = {
    "projects.named": lambda cai: cai.client.projects.named("llm"),
    "projects.get": lambda cai: cai.client.projects.get(cai.project),
    "projects.create": lambda cai: cai.client.projects.create(NewProject(name="new")),
    "projects.merge_environment": lambda cai: cai.client.projects.merge_environment(cai.project, {"A": "1"}),
    "projects.set_shared_memory": lambda cai: cai.client.projects.set_shared_memory(cai.project, 128),
    "projects.delete": lambda cai: cai.client.projects.delete(cai.project),
    "applications.all": lambda cai: cai.client.applications.all(cai.project),
    "applications.get": lambda cai: cai.client.applications.get(cai.project, cai.id("a")),
    "applications.create": lambda cai: cai.client.applications.create(cai.project, cai.new()),
    "applications.update": lambda cai: cai.client.applications.update(cai.project, cai.id("a"), cpu=2),
    "applications.stop": lambda cai: cai.client.applications.stop(cai.project, cai.id("a")),
    "applications.restart": lambda cai: cai.client.applications.restart(cai.project, cai.id("a")),
    "applications.delete": lambda cai: cai.client.applications.delete(cai.project, cai.id("a")),
    "jobs.all": lambda cai: cai.client.jobs.all(cai.project),
    "jobs.create": lambda cai: cai.job("wait.py"),
    "jobs.start": lambda cai: cai.client.jobs.start(cai.project, cai.id("j")),
    "jobs.run": lambda cai: cai.client.jobs.run(cai.project, cai.id("j"), cai.id("r")),
    "jobs.runs": lambda cai: cai.client.jobs.runs(cai.project, cai.id("j")),
    "jobs.stop": lambda cai: cai.client.jobs.stop(cai.project, cai.id("j"), cai.id("r")),
    "jobs.delete": lambda cai: cai.client.jobs.delete(cai.project, cai.id("j")),
    "files.folder": lambda cai: cai.client.files.folder(cai.project),
    "files.upload": lambda cai: cai.client.files.upload(cai.project, "new.txt", b"x"),
    "files.download": lambda cai: cai.client.files.download(cai.project, "server.py"),
    "files.rename": lambda cai: cai.client.files.rename(cai.project, "server.py", "other.py"),
    "files.delete": lambda cai: cai.client.files.delete(cai.project, "server.py"),
    "account.check_key": lambda cai: cai.client.account.check_key(),
    "account.runtimes": lambda cai: cai.client.account.runtimes(),
    "account.node_labels": lambda cai: cai.client.account.node_labels(),
    "account.usage": lambda cai: cai.client.account.usage(),
    "account.quotas": lambda cai: cai.client.account.quotas(),
}


REFUSALS: list[tuple[Fault, type[CaiError], str]] = [
    (Fault(times=None, status=401, code=16, message="invalid apikey"), KeyRefusedError, "wrong or has ended"),
    (Fault(times=None, status=500, message="malformed apikey"), KeyRefusedError, "not a whole API v2 key"),
    (Fault(times=None, status=403, code=7, message="audience mismatch"), KeyRefusedError, "audience API"),
    (Fault(times=None, status=403, code=7, message="no right"), CaiError, "lacks the right"),
    (Fault(times=None, status=409, code=10, message="out of quota: CPU request limit reached"), QuotaError, "ask for"),
    (Fault(times=None, status=418, html=True, message="Teapot"), CaiError, "a page instead of an answer: 418 Teapot"),
    (Fault(times=None, status=429, code=8), UnavailableError, "429"),
    (Fault(times=None, status=502, html=True, message="Bad Gateway"), UnavailableError, "502 Bad Gateway"),
    (Fault(times=None, status=503), UnavailableError, "right now"),
    (Fault(times=None, drop=True), UnavailableError, "did not answer"),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_says_what_went_wrong(cai: Cai, call: str) -> None:
    """With a cause and a cure, never with the key, and asked again only where that may help."""
    for fault, kind, told in REFUSALS:
        cai.fake.faults.clear()
        cai.fake.faults.add(fault)
        cai.pauses.clear()
        with pytest.raises(kind) as caught:
            CALLS[call](cai)
        text = str(caught.value)
        assert told in text
        assert caught.value.cure
        assert cai.fake.key not in text + repr(caught.value)
        assert fault.drop or "fake-request-1" in text
        assert bool(cai.pauses) == (kind is UnavailableError), fault


@pytest.mark.parametrize("call", CALLS)
def test_every_call_gets_over_what_passes(cai: Cai, call: str) -> None:
    """A bad answer of each kind, then all goes well: nothing is lost and nothing is made twice."""
    cai.settings.starting_s = NEVER_S
    made, job = cai.start(name="first", script="wait.py", status="starting"), cai.job("wait.py", name="other")
    run = cai.client.jobs.start(cai.project, job)
    cai.ids = {"a": made.id, "j": job, "r": run.id}
    if call == "jobs.start":
        cai.client.jobs.stop(cai.project, job, run.id)
        cai.ran(job, run, "stopped")
    cai.fake.faults.add(Fault(status=503), Fault(status=502, html=True), Fault(status=429, code=8), Fault(drop=True))
    CALLS[call](cai)
    assert len(cai.fake.workloads()) <= 3


MADE: dict[str, tuple[str, Act, Callable[[Cai], int]]] = {
    "project": ("/projects$", CALLS["projects.create"], lambda cai: len(cai.client.projects.named("new"))),
    "application": ("/applications$", CALLS["applications.create"], lambda cai: len(cai.fake.workloads("app"))),
    "job": ("/jobs$", CALLS["jobs.create"], lambda cai: len(cai.client.jobs.named(cai.project, "job"))),
    "run": ("/runs$", CALLS["jobs.start"], lambda cai: len(cai.fake.workloads("other"))),
    "restart": (":restart$", CALLS["applications.restart"], lambda cai: len(cai.fake.workloads("first")) - 1),
}


@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(status=502, html=True), Fault(status=500)], ids=str)
@pytest.mark.parametrize("carried_out", [True, False])
def test_nothing_is_made_twice(cai: Cai, what: str, fault: Fault, carried_out: bool) -> None:
    """However the answer was lost, and whether the platform had done it or not."""
    path, act, count = MADE[what]
    job = cai.job("wait.py", name="other")
    cai.ids = {"j": job}
    if what == "restart":
        cai.ids["a"] = cai.start("first").id
    cai.settings.starting_s = NEVER_S
    cai.fake.faults.add(fault.model_copy(update={"method": "POST", "path": path, "carried_out": carried_out}))
    act(cai)
    assert count(cai) == 1


def test_what_was_made_is_found_in_a_list_that_is_behind(cai: Cai) -> None:
    """A look at once would see nothing, and make a second one."""
    cai.settings.list_lag_s = 1.0
    cai.fake.clock.freeze()
    looks = 0

    def pause(seconds: float) -> None:
        nonlocal looks
        looks += 1
        cai.fake.clock.advance(0.6)

    cai.fake.faults.add(Fault(method="POST", path="/applications$", drop=True, carried_out=True))
    with CaiClient(cai.fake.workspace, sleep=pause) as client:
        client.applications.create(cai.project, cai.new())
    assert looks == 2
    assert len(cai.fake.workloads("app")) == 1


def test_what_was_refused_after_an_open_failure_is_ones_own(cai: Cai) -> None:
    """The subdomain is taken, by what the request before made."""
    cai.settings.list_lag_s = 1000.0
    cai.fake.faults.add(Fault(method="POST", path="/applications$", drop=True, carried_out=True))
    posts: list[Call] = []

    def on_call(call: Call) -> None:
        posts.extend([call] if call.method == "POST" else [])
        if len(posts) == 2:
            cai.settings.list_lag_s = 0.0

    with CaiClient(cai.fake.workspace, on_call=on_call, sleep=cai.pauses.append) as client:
        made = client.applications.create(cai.project, cai.new())
    assert [call.status for call in posts] == [None, 409]
    assert [one.row["id"] for one in cai.fake.workloads("app")] == [made.id]


def test_what_takes_longer_than_the_client_waits(cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made when nobody waits for the answer any more, and found."""
    monkeypatch.setattr("rayllm_backend_cai.api.transport.CREATE_S", 0.3)
    monkeypatch.setattr("rayllm_backend_cai.api.retries.LONGEST_S", 0.2)
    cai.fake.faults.add(Fault(method="POST", path="/applications$", delay_s=1.0))

    def pause(seconds: float) -> None:
        until("it is made", lambda: cai.fake.workloads("app"), 20)

    monkeypatch.setattr("rayllm_backend_cai.api.retries._jitter", wait_none())
    with CaiClient(cai.fake.workspace, sleep=pause) as client:
        made = client.applications.create(cai.project, cai.new())
    assert [one.row["id"] for one in cai.fake.workloads("app")] == [made.id]


@pytest.mark.parametrize(("asked", "most"), [("3", 3.0), ("", 0.0)])
def test_pauses_are_as_long_as_the_platform_asks(cai: Cai, asked: str, most: float) -> None:
    """And some more, so that not all come back at once; where it asks nothing they grow."""
    cai.fake.faults.add(Fault(status=429, retry_after=asked, times=4))
    cai.client.account.node_labels()
    assert len(cai.pauses) == 4
    assert all(most <= pause <= most + 10 for pause in cai.pauses)
    assert len(set(cai.pauses)) == 4


def test_a_wait_of_minutes_is_told_of_at_once(cai: Cai) -> None:
    """Instead of a command that hangs."""
    cai.fake.faults.add(Fault(status=503, retry_after="600", times=None))
    with pytest.raises(UnavailableError, match="asks to wait 600 s"):
        cai.client.account.node_labels()
    assert cai.pauses == []


def test_a_key_that_is_revoked_meanwhile(cai: Cai) -> None:
    """Every call says so."""
    cai.client.account.check_key()
    cai.fake.revoke(cai.fake.key)
    with pytest.raises(KeyRefusedError, match="wrong or has ended"):
        cai.client.account.check_key()


def test_keys_that_are_not_for_this(cai: Cai) -> None:
    """Of the wrong form, both ways that the platform says so, and for applications alone."""
    for status in (500, 401):
        cai.settings.malformed_key_status = status
        with (
            CaiClient(Workspace(url=cai.fake.url, key="short")) as client,
            pytest.raises(KeyRefusedError, match="whole"),
        ):
            client.account.check_key()
    other = Workspace(url=cai.fake.url, key=cai.fake.add_key("Application"))
    with CaiClient(other) as client, pytest.raises(KeyRefusedError, match="audience API"):
        client.account.node_labels()
    api_only = Workspace(url=cai.fake.url, key=cai.fake.add_key("API"))
    with CaiClient(api_only) as client, pytest.raises(KeyRefusedError, match="audience"):
        client.account.check_key("Application")


def test_refusals_with_a_cure_of_their_own(cai: Cai) -> None:
    """Each says what to do."""
    apps, project = cai.client.applications, cai.project
    with pytest.raises(CaiError, match="lower-case letters and digits"):
        apps.create(project, cai.new(subdomain="Not_Valid"))
    with pytest.raises(CaiError, match="by its whole image"):
        apps.create(project, cai.new(runtime_identifier="no/such:image"))
    with pytest.raises(CaiError, match="upload the script"):
        apps.create(project, cai.new(script="none.py"))
    with pytest.raises(NotFoundError, match="is the id right"):
        apps.get(project, "none/../x y")
    job = cai.job("wait.py")
    cai.client.jobs.start(project, job)
    with pytest.raises(AlreadyActiveError, match="stop it"):
        cai.client.jobs.start(project, job)
    cai.settings.limits = Limits(cpu=1)
    with pytest.raises(QuotaError, match="ask for less") as caught:
        apps.create(project, cai.new())
    assert caught.value.status == 409
    assert apps.all(project) == []


def test_a_page_to_log_in_on_is_no_answer(cai: Cai) -> None:
    """What an application's address, or a proxy, says to a program."""
    cai.fake.faults.add(Fault(status=302, html=True), Fault(status=200, html=True))
    for what in ("redirect", "no JSON"):
        with pytest.raises(CaiError, match=what) as caught:
            cai.client.projects.get(cai.project)
        assert "address that of the workspace" in str(caught.value)


def test_nobody_listens() -> None:
    """Nothing was sent, so it is tried again, and then told of."""
    pauses: list[float] = []
    with (
        CaiClient(Workspace(url="http://127.0.0.1:9", key="k"), sleep=pauses.append) as client,
        pytest.raises(UnavailableError, match="reach it") as caught,
    ):
        client.projects.create(NewProject(name="p"))
    assert not caught.value.unclear
    assert len(pauses) == ATTEMPTS - 1
