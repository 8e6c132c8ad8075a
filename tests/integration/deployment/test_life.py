"""The life of a deployment: up, no change, a change, two models, what goes wrong, down."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from tests.certificates import FIRST, SECOND
from tests.conftest import Rayllm, command_of, marked, until
from tests.integration.deployment.conftest import QUICK

from rayllm.config.certificate import certificate_of
from rayllm.testing.fake_hub import FakeHub, FakeRepo

if TYPE_CHECKING:
    from tests.integration.deployment.conftest import Deployment


def test_two_models_answer_behind_one_endpoint(deployment: Deployment) -> None:
    """The body's `model` decides who answers."""
    assert deployment.answer("one").startswith("fake one pid")
    assert "two says so" in deployment.answer("two")


def test_an_openai_client_lists_and_streams(deployment: Deployment) -> None:
    """What every application does first works with the client it uses."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{deployment.port}/v1", api_key="none") as client:
        assert sorted(model.id for model in client.models.list()) == ["one", "two"]
        stream = client.chat.completions.create(
            model="two", messages=[{"role": "user", "content": "hi"}], stream=True, max_tokens=6
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "two says so" in text


def test_doctor_and_render_on_a_cluster_that_runs(deployment: Deployment) -> None:
    """Nothing stands in the way, the port is ours; what would be put is what was put, without the cluster's token."""
    found = {check["name"]: check for check in deployment.rayllm.json("doctor")}
    assert {name: check for name, check in found.items() if check["state"] == "fail"} == {}
    assert "answers, and takes the token" in found["cluster"]["detail"]
    assert found["gateway port"]["state"] == found["ray"]["state"] == "ok"
    rendered = deployment.rayllm.json("render")
    assert [app["name"] for app in rendered["applications"]] == ["it--one", "it--two", "it--rayllm"]
    token = (deployment.rayllm.home / "clusters/it/token").read_text()
    assert token
    assert token not in str(rendered)


def test_plan_says_no_change_then_what_changed(deployment: Deployment) -> None:
    """A plan is the difference between file and cluster, and `up` makes it none."""
    assert "No changes" in deployment.rayllm("plan")
    one = deployment.engine_pid("one")
    deployment.models["two"]["options"] = {"answer": "two thinks again"}
    deployment.write()
    said = deployment.rayllm("plan")
    assert "options.answer: two says so → two thinks again" in said
    assert "restarts its replica" in said
    deployment.rayllm("up", "--yes")
    assert "two thinks again" in deployment.answer("two")
    assert deployment.engine_pid("one") == one, "what did not change was restarted"
    assert "No changes" in deployment.rayllm("plan")


def test_more_replicas_need_no_restart(deployment: Deployment) -> None:
    """A change of the number alone keeps what runs."""
    one = deployment.engine_pid("one")
    deployment.models["one"] = {**deployment.models["one"], "replicas": 2}
    deployment.write()
    assert "no restart" in deployment.rayllm("plan")
    deployment.rayllm("up")
    assert deployment.rayllm.json("status")["models"]["one"]["running"] == 2
    pids = {one}

    def both() -> bool:
        pids.add(deployment.engine_pid("one"))
        return len(pids) == 2

    until("the new replica answers beside the old one", both, 20)
    del deployment.models["one"]["replicas"]
    deployment.up()


def test_an_engine_that_fails_is_told_in_its_own_words(deployment: Deployment) -> None:
    """`up` ends with the engine's error; the others serve on; the file mended, `up` goes on from there."""
    told = {"fail_start": "ValueError: 0.31 GiB left, 1.12 GiB needed"}
    deployment.models["bad"] = {**deployment.models["one"], "options": told}
    deployment.write()
    said = deployment.rayllm("up", status=1)
    assert "✘ bad  the engine stopped while starting (exit status 1)" in said
    assert "cause  ValueError: 0.31 GiB left, 1.12 GiB needed" in said
    assert "1 of 3 models did not come up" in said
    assert "Traceback" not in said
    assert "ValueError: 0.31 GiB left" in deployment.rayllm("logs", "bad")
    assert "bad: the engine stopped while starting" in deployment.rayllm("status", status=1)
    assert deployment.answer("one")
    deployment.models["bad"]["options"] = {}
    deployment.up()
    assert deployment.answer("bad").startswith("fake bad")
    del deployment.models["bad"]
    deployment.up()
    assert deployment.post("bad").status_code == 404


def test_a_failed_model_is_tried_again_by_the_next_up(deployment: Deployment, tmp_path: Path) -> None:
    """The same file again is not 'nothing to do' when its cause is gone."""
    place = tmp_path / "weights"
    deployment.models["late"] = {**deployment.models["one"], "source": str(place)}
    deployment.write()
    said = deployment.rayllm("up", status=1)
    assert str(place) in said
    assert "put the files there" in said
    place.mkdir()
    deployment.rayllm("up", "--yes")
    assert deployment.answer("late").startswith("fake late")
    del deployment.models["late"]
    deployment.up()


def test_what_no_node_can_hold_is_refused_before_anything_changes(deployment: Deployment) -> None:
    """A silent pending replica is a bug report; a number is help."""
    deployment.models["big"] = {**deployment.models["one"], "resources": {"gpus": 2}}
    deployment.write()
    said = deployment.rayllm("up", status=1)
    assert "big: one replica needs 2 GPUs" in said
    assert "the largest node has 0 GPUs" in said
    del deployment.models["big"]
    deployment.write()
    assert "No changes" in deployment.rayllm("plan")


def test_two_ups_at_once_end_well(deployment: Deployment) -> None:
    """One goes first; the other either waits for the same or says who is at work; the cluster is whole."""
    deployment.models["two"]["options"] = {"answer": "two at once"}
    deployment.write()
    both = [deployment.rayllm.start("up", "--yes") for _ in range(2)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in both]
    assert 0 in [status for _, status in ends], ends
    for (out, err), status in ends:
        assert status == 0 or "is being changed by" in err, out + err
    assert "two at once" in deployment.wait_for("two")
    assert "No changes" in deployment.rayllm("plan")


def test_ctrl_c_halfway_is_picked_up(deployment: Deployment) -> None:
    """Interrupted while an engine starts: status 130, no traceback, and the next `up` goes on."""
    deployment.models["slow"] = {**deployment.models["one"], "options": {"start_s": 4}}
    deployment.write()
    process = deployment.rayllm.start("up", "--yes")
    deployed = until("the model is deployed", lambda: "slow" in deployment.rayllm.start("status").communicate()[0], 30)
    assert deployed
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    deployment.rayllm("up", "--yes")
    assert deployment.answer("slow").startswith("fake slow")
    del deployment.models["slow"]
    deployment.up()


def test_serve_proxy_and_admin_api_are_closed(deployment: Deployment) -> None:
    """Behind the gateway, only who knows the internal key or the cluster's token gets in."""
    state = deployment.rayllm.json("status")
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://127.0.0.1:{deployment.port}/rayllm/v1/state").status_code == 401
        assert client.get(f"{state['dashboard_url']}/api/serve/applications/").status_code == 401
        serve_port = _serve_port(deployment.rayllm)
        answer = client.get(f"http://127.0.0.1:{serve_port}/it/models/one/v1/models")
        assert answer.status_code == 403, answer.text


def test_a_private_model_and_its_secret(deployment: Deployment, hub: FakeHub) -> None:
    """The nodes read the token from a file of its own; it stands nowhere else; another one restarts nothing."""
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "m.safetensors": bytes(50_000)}
    hub.repos["org/private"] = FakeRepo(files, private=True, readers=frozenset({"hf_first_secret"}))
    file = deployment.rayllm.folder / "hub-token"
    file.touch(0o600)
    file.write_text("hf_first_secret\n")
    deployment.models["private"] = {**QUICK, "source": "hf://org/private"}
    deployment.write()
    said = deployment.rayllm("up", "--yes", status=1)
    assert "the hub has no org/private, or it is private and no token was sent" in said
    deployment.secrets = {"HF_TOKEN": {"file": "hub-token"}}
    said = deployment.up()
    pid = deployment.engine_pid("private")
    laid = deployment.rayllm.home / "secrets/HF_TOKEN"
    assert (laid.read_text(), laid.stat().st_mode & 0o777) == ("hf_first_secret", 0o600)
    (cluster_token,) = deployment.rayllm.home.rglob("token")
    url = deployment.rayllm.json("status")["dashboard_url"] + "/api/serve/applications/"
    headers = {"Authorization": f"Bearer {cluster_token.read_text()}"}
    with httpx.Client(trust_env=False, headers=headers) as client:
        config = client.get(url).text
    assert "hf://org/private" in config
    told = [said, config, *(deployment.rayllm(*words) for words in (["plan"], ["status"], ["logs", "private"]))]
    told += [
        *map(command_of, marked(deployment.rayllm.home)),
        *(path.read_text(errors="replace") for path in deployment.logs()),
    ]
    assert "hf_first_secret" not in "".join(told)

    hub.repos["org/private"].readers = frozenset({"hf_second_secret"})
    file.write_text("hf_second_secret")
    deployment.models["again"] = {**QUICK, "source": "hf://org/private@aaaa"}
    hub.repos["org/private"].refs = ("main", "aaaa")
    assert "No changes" not in deployment.up()
    assert deployment.answer("again")
    assert laid.read_text() == "hf_second_secret"
    assert deployment.engine_pid("private") == pid
    del deployment.models["private"], deployment.models["again"]
    deployment.up()


@pytest.fixture
def pem(deployment: Deployment, tmp_path: Path) -> Iterator[Path]:
    """The certificate's file, which the deployment's file names; afterwards all is as before."""
    file = tmp_path / "gateway.pem"
    file.touch(0o600)
    file.write_text(FIRST)
    before = (deployment.secrets, deployment.gateway, models := deployment.models)
    deployment.secrets = {"GATEWAY_PEM": {"file": str(file)}}
    deployment.gateway = {"tls": "GATEWAY_PEM", "aliases": {"chat": "one"}}
    deployment.models = {**models, "one": {**models["one"], "routing": {"fallback": "two"}}}
    yield file
    deployment.secrets, deployment.gateway, deployment.models = before
    deployment.up()


def says(deployment: Deployment, model: str, pem: str) -> str:
    """Who answers a client that trusts this certificate and speaks HTTP/2, and what; empty while nobody does."""
    trusting = ssl.create_default_context(cadata=certificate_of(pem))
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    url = f"https://127.0.0.1:{deployment.port}/v1/chat/completions"
    try:
        with httpx.Client(trust_env=False, verify=trusting, http2=True, timeout=30) as client:
            answer = client.post(url, json=body)
    except httpx.HTTPError:
        return ""
    told = answer.json()
    return f"{told['model']}: {told['choices'][0]['message']['content']}" if answer.is_success else ""


def test_https_comes_and_is_renewed(deployment: Deployment, pem: Path) -> None:
    """`up` and `status` know the certificate; a new one is served, and no engine notices anything of it."""
    before = deployment.engine_pid("one")
    deployment.up()
    until("HTTPS answers", lambda: says(deployment, "one", FIRST), 30)
    assert f"https://127.0.0.1:{deployment.port}" in deployment.rayllm("status")
    assert says(deployment, "chat", FIRST).split() == says(deployment, "one", FIRST).split()
    pem.write_text(SECOND)
    deployment.up()
    until("the new certificate is served", lambda: says(deployment, "one", SECOND), 30)
    assert not says(deployment, "one", FIRST)
    deployment.rayllm("status")
    assert says(deployment, "one", SECOND).split()[-1] == str(before)
    deployment.gateway = {**deployment.gateway, "aliases": {"chat": "two"}}
    deployment.write()
    assert "restart" not in deployment.rayllm("plan")
    deployment.up()
    until("the alias stands for the other model", lambda: says(deployment, "chat", SECOND).startswith("two: "), 30)
    assert says(deployment, "one", SECOND).split()[-1] == str(before)


def test_the_token_stands_in_no_command_line_config_or_log(deployment: Deployment) -> None:
    """The cluster's token is in its file and in memory, nowhere else."""
    home = deployment.rayllm.home
    (token_file,) = home.rglob("token")
    token = token_file.read_text().strip()
    assert len(token) > 20
    assert token_file.stat().st_mode & 0o077 == 0
    assert not [pid for pid in marked(home) if token in command_of(pid)]
    assert not [path for path in deployment.logs() if token in path.read_text(errors="replace")]


def test_down_leaves_nothing_and_is_content_with_nothing(deployment: Deployment) -> None:
    """Every process is gone, and `down` again is no error."""
    said = deployment.rayllm("down", "--yes")
    assert "it is down" in said
    until("every process is gone", lambda: not marked(deployment.rayllm.home), 10)
    assert "was not running" in deployment.rayllm("down", "--yes")
    said = deployment.rayllm("status", status=1)
    assert "it is not running" in said
    assert "rayllm up" in said


def _serve_port(rayllm: Rayllm) -> int:
    (state,) = rayllm.home.rglob("state.json")
    import json

    return int(json.loads(state.read_text())["serve_port"])
