"""What people do all day: look at one model, read its log, talk to it, scale it; by command and from Python."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.conftest import Rayllm, default_signals, until
from tests.integration.deployment.conftest import QUICK, Deployment

from rayllm import AsyncRayLLM, DeploymentError, RayLLM
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.serve_config import deployed_apps, merge

WORDS = "one two three four five six seven eight nine ten eleven twelve"


class Told(list[str]):
    """A progress that remembers."""

    def __call__(self, step: str, detail: str, *, done: bool = False) -> None:
        """One more line."""
        self.append(f"{'✔ ' * done}{step}: {detail}")


@pytest.fixture(scope="module")
def deployment(rayllm: Rayllm) -> Deployment:
    """A quick model, one that takes six seconds for an answer, and one of which two fit."""
    made = Deployment(rayllm)
    made.models = {
        "one": QUICK,
        "slow": {**QUICK, "options": {"answer": WORDS, "token_s": 0.5}, "drain_s": 30},
        "wide": {**QUICK, "resources": {"cpus": 1.5}},
    }
    made.up()
    return made


@pytest.fixture
def llm(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> RayLLM:
    """The same file from Python."""
    monkeypatch.setenv("RAYLLM_HOME", str(deployment.rayllm.home))
    return RayLLM.from_file(deployment.rayllm.folder / "rayllm.yaml")


def test_status_of_one_model(deployment: Deployment) -> None:
    """What it is, where it runs and since when; for a program the same as of all."""
    said = deployment.rayllm("status", "slow")
    assert said.startswith("slow · ready · 1 of 1 replicas run\n")
    assert f"endpoint    http://127.0.0.1:{deployment.port}/v1" in said
    assert f"answer: {WORDS}, token_s: 0.5" in said
    assert re.search(r"127\.0\.0\.1  /\S+  [-0-9]  +ready  ", said)
    one, every = (deployment.rayllm.json("status", *which) for which in (["slow"], []))
    for told in (one, every["models"]["slow"]):
        (replica,) = told["replicas"]
        assert (replica["phase"], replica["device"], replica["version"]) == ("ready", "cpu", "")
        del replica["computing"], replica["queued"]  # looked at every second
    assert one == every["models"]["slow"]
    assert "no model 'slo'; did you mean \"slow\"?" in deployment.rayllm("status", "slo", status=2)
    assert deployment.rayllm("status", "gateway").startswith("gateway · ready")


def test_chat_once_streams(deployment: Deployment) -> None:
    """The first words are there long before the last."""
    process = deployment.rayllm.start("chat", "slow", "--once", "hi")
    assert process.stdout
    first = os.read(process.stdout.fileno(), 100).decode()
    assert process.poll() is None, "it came all at once"
    out, err = process.communicate(timeout=30)
    assert (process.returncode, first + out, err) == (0, f"{WORDS}\n", "")


def test_chat_through_a_pipe(deployment: Deployment) -> None:
    """The question from stdin; a model has to be named where there are several."""
    argv = [sys.executable, "-m", "rayllm", "chat", "slow", "--max-tokens", "2"]
    place: dict[str, Any] = {"cwd": deployment.rayllm.folder, "env": deployment.rayllm.env}
    done = subprocess.run(argv, **place, input=b"hi \xff\n", capture_output=True, timeout=30, check=True)
    assert done.stdout == b"one two\n"
    said = deployment.rayllm("chat", "--once", "hi", status=2)
    assert "which model?" in said
    assert "one, slow, wide" in said


def test_chat_at_a_terminal(deployment: Deployment) -> None:
    """Ctrl-C cuts the answer, not the conversation; what was said is remembered; Ctrl-D ends."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rayllm", "chat", "slow"],
        cwd=deployment.rayllm.folder,
        env={**deployment.rayllm.env, "TERM": "xterm", "NO_COLOR": "1"},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509
    )
    os.close(end)
    seen = ""

    def see(text: str) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(terminal, 1000).decode()
        seen = seen.partition(text)[2]

    see(">>> ")
    os.write(terminal, b"hi\n")
    see("one two")
    os.write(terminal, b"\x03")
    see("(cut)")
    see(">>> ")
    os.write(terminal, b"/?\n")
    see("/clear ")
    see(">>> ")
    os.write(terminal, b"\x04")
    assert process.wait(20) == 0
    os.close(terminal)


def take_terminal() -> None:
    """Make the terminal that is its standard input the one that sends signals to this process."""
    default_signals()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_scaling_touches_no_request_in_flight(deployment: Deployment) -> None:
    """Up and down again while an answer is made; the plan tells of the difference, and `up` sets it back."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(deployment.answer, "slow")
        assert "slow has 2 replicas" in deployment.rayllm("scale", "slow", "2")
        assert "replicas: 2 → 1" in deployment.rayllm("plan")
        assert "slow has 1 replica\n" in deployment.rayllm("scale", "slow", "1")
        assert answer.result(30) == WORDS
    assert "No changes" in deployment.rayllm("plan")
    deployment.rayllm("scale", "one", "2")
    deployment.rayllm("up")
    assert deployment.rayllm.json("status", "one")["wanted"] == 1


def test_what_can_not_be_scaled(deployment: Deployment) -> None:
    """None at all, more than there is room for, a model that is not there: nothing changes."""
    assert "can't have 0 replicas" in deployment.rayllm("scale", "one", "0", status=2)
    said = deployment.rayllm("scale", "wide", "3", status=1)
    assert "3 replicas of wide don't fit: each needs 1.5 CPU cores" in said
    assert "the nodes have room for 2" in said
    assert 'did you mean "wide"?' in deployment.rayllm("scale", "wid", "1", status=2)
    assert "No changes" in deployment.rayllm("plan")


def test_why_a_model_waits(deployment: Deployment, llm: RayLLM) -> None:
    """Somebody who does not ask us wants three replicas where two fit: the cause has the numbers."""
    cluster = llm.session.find_ready()
    with ServeApi.of(cluster) as api:
        details = api.details()
        apps = deployed_apps(details, llm.name)
        apps["wide"]["deployments"][0]["num_replicas"] = 3
        api.put_config(merge(details, llm.name, list(apps.values()), cluster.serve_port))

    def waits() -> str:
        found = llm.model_status("wide")
        return found.cause if found.running == 2 and "no node has that free" in found.cause else ""

    cause = until("two run, and the third waits", waits, 60)
    assert cause == "one replica needs 1.5 CPU cores; no node has that free, the best has 0.5 CPU cores"
    said = deployment.rayllm("status", "wide", status=1)
    assert re.search(rf"^  cause +{cause}$", said, re.MULTILINE)
    assert re.search("^  do +ask for less under resources:, stop another model, or add a node$", said, re.MULTILINE)
    assert llm.scale("wide", 1).models["wide"].running == 1


def test_why_a_model_failed(deployment: Deployment, llm: RayLLM) -> None:
    """Its engine's own words, from the log of its last start."""
    deployment.models["bad"] = {**QUICK, "options": {"fail_start": "ValueError: 0.31 GiB left"}}
    deployment.write()
    with pytest.raises(DeploymentError, match=r"✘ bad  the engine stopped .*\n  cause  ValueError: 0.31 GiB left"):
        RayLLM.from_file(deployment.rayllm.folder / "rayllm.yaml").up()
    said = deployment.rayllm("status", "bad", status=1)
    assert "bad · failed · 0 of 1 replicas run" in said
    assert "the engine stopped while starting (exit status 1): ValueError: 0.31 GiB left" in said
    assert "rayllm logs bad --last-start" in said
    assert "ValueError: 0.31 GiB left" in deployment.rayllm("logs", "bad", "--last-start")
    assert "bad is not ready: failed" in deployment.rayllm("chat", "bad", "--once", "hi", status=1)
    del deployment.models["bad"]
    deployment.up()
    assert llm.plan().has_changes is False


def test_the_log_of_the_last_start(deployment: Deployment) -> None:
    """After kill -9 it is the new engine's; the dead one's is there by its replica's name."""
    (before,) = deployment.rayllm.json("status", "one")["replicas"]
    os.kill(deployment.engine_pid("one"), signal.SIGKILL)

    def another() -> Any:
        found = deployment.rayllm.json("status", "one")["replicas"]
        return found and found[0]["replica"] != before["replica"] and found[0]["phase"] == "ready" and found[0]

    after = until("another replica is ready", another, 60)
    deployment.wait_until_ready()
    last = deployment.rayllm("logs", "one", "--last-start")
    assert last == deployment.rayllm("logs", "one", after["replica"], "-n", "-1")
    assert "fake engine" in last
    assert "fake engine" in deployment.rayllm("logs", "one", before["replica"][:6])
    said = deployment.rayllm("logs", "one", "nobody", status=2)
    assert f"{after['replica']} (ready), {before['replica']} (failed)" in said
    assert "ready again; failed" in deployment.rayllm("status")


def test_a_log_is_followed_until_ctrl_c(deployment: Deployment) -> None:
    """What was there comes first."""
    process = deployment.rayllm.start("logs", "one", "--follow")
    assert process.stdout
    assert "fake engine" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130, out + err


def test_the_gateways_log(deployment: Deployment) -> None:
    """What went wrong there, HAProxy's own words included."""
    assert deployment.rayllm("logs", "gateway", "-n", "-1")


def test_a_watch_tells_of_changes(deployment: Deployment) -> None:
    """A block for each, without a terminal; Ctrl-C is its good end."""
    process = deployment.rayllm.start("status", "one", "--watch", "--json")
    assert process.stdout
    assert json.loads(process.stdout.readline())["wanted"] == 1
    deployment.rayllm("scale", "one", "2")
    wanted = [json.loads(process.stdout.readline())["wanted"]]
    deployment.rayllm("scale", "one", "1")
    while wanted[-1] != 1:
        wanted.append(json.loads(process.stdout.readline())["wanted"])
    assert wanted[0] == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, ""), out


def test_from_python(llm: RayLLM) -> None:
    """The five lines of the page, with an answer in pieces."""
    llm.up()
    with llm.openai() as client:
        answer = client.chat.completions.create(model="one", messages=[{"role": "user", "content": "hi"}])
    assert "fake one" in str(answer.choices[0].message.content)
    assert llm.status().models["one"].replicas[0].phase == "ready"
    parts = list(llm.chat([{"role": "user", "content": "hi"}], "slow", max_tokens=3))
    assert "".join(part.text for part in parts) == "one two three"
    assert (parts[-1].tokens, [part.finish for part in parts if part.finish]) == (3, ["length"])


def test_from_asynchronous_python(llm: RayLLM) -> None:
    """The same, at once; a log that is followed lets go when its reader is cancelled."""

    async def talk() -> None:
        own = AsyncRayLLM(llm.session)
        status, plan = await asyncio.gather(own.status(), own.plan())
        assert (status.models["one"].state, plan.has_changes) == ("ready", False)
        async with await own.openai() as client:
            answer = await client.chat.completions.create(model="one", messages=[{"role": "user", "content": "hi"}])
        assert "fake one" in str(answer.choices[0].message.content)
        asked = own.chat([{"role": "user", "content": "hi"}], "slow", max_tokens=2)
        assert "".join([part.text async for part in asked]) == "one two"
        seen = asyncio.Event()

        async def follow() -> None:
            async for text in own.logs("one", follow=True):
                assert "fake engine" in text
                seen.set()

        reader = asyncio.create_task(follow())
        await asyncio.wait_for(seen.wait(), 15)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reader, 5)
        told = Told()
        await own.scale("one", 1, told)
        assert "✔ one: ready, answered a first prompt" in told

    asyncio.run(talk())


def test_keys_of_the_file(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count from `up` on and end with it, without a restart; what asks from here shows the first of them."""
    engine = deployment.engine_pid("one")
    deployment.gateway = {"keys": {"file": "keys"}}
    file = deployment.rayllm.folder / "keys"
    file.touch(0o600)
    file.write_text("old=sk-of-the-file-0000,sk-of-the-file-1111")
    assert "2 from keys" in deployment.up()
    assert deployment.post("one").status_code == 401
    assert deployment.post("one", key="sk-of-the-file-0000").status_code == 200
    file.write_text("sk-of-the-file-1111")
    assert "1 from keys" in deployment.up()
    assert deployment.post("one", key="sk-of-the-file-0000").status_code == 401
    assert f"pid {engine}" in deployment.post("one", key="sk-of-the-file-1111").text
    assert "fake one" in deployment.rayllm("chat", "one", "--once", "hi")
    monkeypatch.setenv("RAYLLM_API_KEY", "sk-of-nobody-000000")
    assert "the endpoint refused the API key" in deployment.rayllm("chat", "one", "--once", "hi", status=1)


def test_keys_while_it_runs(deployment: Deployment) -> None:
    """Added, used, limited, rotated under load, revoked: each change counts at once, and no good request fails."""
    rayllm, codes = deployment.rayllm, []
    keys = [rayllm.json("keys", "add", "bob", "--models", "one", "--expires", "1d")["key"]]
    assert [deployment.post(model, key=keys[0]).status_code for model in ("one", "wide")] == [200, 404]
    paced = rayllm.json("keys", "add", "paced", "--requests-per-minute", "1")["key"]
    assert [deployment.post("one", key=paced).status_code for _ in range(2)] == [200, 429]
    frugal = rayllm.json("keys", "add", "frugal", "--tokens-per-minute", "1")["key"]
    assert deployment.post("one", key=frugal).status_code == 200
    refused = until("its tokens are used up", lambda: refusals(deployment.post("one", key=frugal)), 15)[0]
    assert refused.json()["error"]["message"].startswith("this API key has used its tokens")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            codes.append(deployment.post("one", key=keys[-1]).status_code)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        keys.append(rayllm.json("keys", "rotate", "bob", "--grace", "1m")["key"])
        keys.append(rayllm.json("keys", "rotate", "bob", "--grace", "1m")["key"])
        stop.set()
        assert [each.result() for each in asking] == [None, None]
    assert set(codes) == {200}
    assert [deployment.post("one", key=key).status_code for key in keys] == [200] * 3
    keys.append(rayllm.json("keys", "rotate", "bob")["key"])
    assert [deployment.post("one", key=key).status_code for key in keys[2:]] == [401, 200]
    listed = {key["name"]: key["state"] for key in rayllm.json("keys", "list")}
    assert listed == {"bob": "active", "default": "active", "frugal": "active", "old": "revoked", "paced": "active"}
    assert "bob is revoked" in rayllm("keys", "revoke", "bob")
    assert deployment.post("one", key=keys[-1]).status_code == 401
    assert "there is no key nobody" in rayllm("keys", "revoke", "nobody", status=2)

    def used() -> bool:
        rows = [row for row in rayllm.json("keys", "usage", "bob") if row["model"] == "one"]
        return bool(rows) and rows[0]["requests"] >= len(codes) + 5 and rows[0]["completion_tokens"] > 0

    until("bob's requests are counted", used, 15)
    logs = deployment.logs()
    assert "it--access.log" in {file.name for file in logs}
    for file in (*rayllm.home.rglob("*"), *logs):
        if file.is_file() and file.stat().st_size < 1 << 24:
            text = file.read_bytes()
            assert not any(key.encode() in text for key in (*keys, paced, frugal, "sk-of-the-file-1111")), file


def refusals(*answers: httpx.Response) -> list[httpx.Response]:
    """The answers that say that there were too many."""
    return [answer for answer in answers if answer.status_code == 429]


def test_down_from_python(llm: RayLLM) -> None:
    """What there was, and that there is nothing now."""
    assert llm.down()
    assert not llm.down()
