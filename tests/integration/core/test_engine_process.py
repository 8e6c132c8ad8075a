"""An engine's process, real but for the model: started, asked, watched, reached through Serve."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from rayllm import Command, DeploymentError
from rayllm.serving.engine.environ import engine_env
from rayllm.serving.engine.forward import forward
from rayllm.serving.engine.load import Load
from rayllm.serving.engine.running import RunningEngine
from rayllm.serving.processes.ports import hold_port
from rayllm.serving.spec import INTERNAL_KEY_HEADER
from rayllm.testing import fake_server
from rayllm.testing.fake_engine import rayllm_engines

(ENGINE,) = rayllm_engines()
BOUND_S = 20.0
KEY = "k3y"
TOKEN = "cluster-token"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RAYLLM_HOME of its own."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))


@asynccontextmanager
async def started(folder: Path, *flags: str, **command: Any) -> AsyncIterator[RunningEngine]:
    """A process, ended at the end."""
    port = hold_port()
    argv = [sys.executable, "-I", fake_server.__file__, "--model", "m", "--port", str(port.number), *flags]
    running = RunningEngine.start(
        ENGINE,
        Command(*argv, **{"metrics": "/metrics", **command}),
        base_url=f"http://127.0.0.1:{port.number}",
        log=folder / "logs" / "engine.log",
        marker=f"test:{port.number}",
        gpu_ids=[],
    )
    try:
        yield running
    finally:
        await running.stop(2)
        port.release()
        assert running.process.poll() is not None


def run(test: Callable[[], Awaitable[None]]) -> None:
    """In an event loop, within a bound."""
    asyncio.run(asyncio.wait_for(test(), BOUND_S))


async def serving(running: RunningEngine) -> list[str]:
    """Wait for its first answer; returns what was told."""
    told: list[str] = []
    await running.wait_until_serving(ENGINE, "m", told.append)
    return told


def test_from_start_to_stop(tmp_path: Path) -> None:
    """It tells its log's last line while it starts, then its models, its load and one token."""

    async def test() -> None:
        async with started(tmp_path, "--start-s", "0.3") as running:
            assert not await running.client.is_ready()
            told = await serving(running)
            assert "fake engine: loads nothing" in told
            assert told[-1] == "asking for a first token"
            assert await running.client.served_models() == ["m"]
            load = await running.client.load()
            assert load
            assert (load.running, load.waiting, load.generated) == (0, 0, 1)
            status, body = await asked(running)
            assert (status, json.loads(body)["model"]) == (200, "m")

    run(test)


def test_an_engine_that_stops_while_starting(tmp_path: Path) -> None:
    """Its own last error is the cause."""

    async def test() -> None:
        async with started(tmp_path, "--fail-start", "ValueError: no such quantization") as running:
            with pytest.raises(DeploymentError) as caught:
                await serving(running)
            assert str(caught.value) == (
                "the engine stopped while starting (exit status 1)\n  cause  ValueError: no such quantization"
                "\n  more   rayllm explain engine-start"
            )

    run(test)


def test_another_model_on_the_port(tmp_path: Path) -> None:
    """Somebody else's engine took it."""

    async def test() -> None:
        async with started(tmp_path) as running:
            with pytest.raises(DeploymentError, match="serves m instead of another"):
                await running.wait_until_serving(ENGINE, "another", lambda _: None)

    run(test)


def test_an_engine_that_dies_on_its_first_prompt(tmp_path: Path) -> None:
    """Told, with what the connection said."""

    async def test() -> None:
        async with started(tmp_path, "--crash-after", "0") as running:
            with pytest.raises(DeploymentError, match="did not answer its first prompt"):
                await serving(running)

    run(test)


def test_an_engine_that_hangs(tmp_path: Path) -> None:
    """Time-outs are told, and its load shows work without tokens."""

    async def test() -> None:
        async with started(tmp_path, "--hang-after", "1") as running:
            await serving(running)
            with pytest.raises(asyncio.TimeoutError):
                await running.client.try_one_token("m", 0.2)
            hanging = asyncio.create_task(running.client.try_one_token("m", BOUND_S))
            load = Load(0, 0, 0)
            while not load.running:
                load = await running.client.load() or load
            assert load.generated == 1
            hanging.cancel()

    run(test)


def test_metrics_that_are_not_there(tmp_path: Path) -> None:
    """Not known is not idle."""

    async def test() -> None:
        async with started(tmp_path, metrics=None) as running:
            await serving(running)
            assert await running.client.load() is None
        async with started(tmp_path, metrics="/health") as running:
            await serving(running)
            assert await running.client.load() is None
        assert await_gone(running)

    run(test)


def await_gone(running: RunningEngine) -> bool:
    """Its process and its reaper have ended."""
    end = time.monotonic() + BOUND_S
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in (running.process.pid, running.process.reaper_pid)):
            return True
        time.sleep(0.05)
    return False


def test_what_an_engine_inherits() -> None:
    """An allow-list, its command's own, and the GPUs it may see: none, unless they are its own."""
    environ = {
        "PATH": "/bin",
        "HF_TOKEN": "for the weights",
        "https_proxy": "http://proxy",
        "RAY_AUTH_TOKEN": "s3cret",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": "/ours",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    env = engine_env(environ, Command("x", env={"VLLM_X": "1"}), [])
    assert env == {
        "PATH": "/bin",
        "HF_TOKEN": "for the weights",
        "https_proxy": "http://proxy",
        "PYTHONUNBUFFERED": "1",
        "VLLM_X": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    assert engine_env({}, Command("x"), ["2", "3"])["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_a_real_engine_does_not_see_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its process."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s3cret")

    async def test() -> None:
        async with started(tmp_path) as running:
            await serving(running)
            environ = Path(f"/proc/{running.process.pid}/environ").read_bytes()
            assert b"s3cret" not in environ
            assert b"RAYLLM_OWNER=" in environ

    run(test)


async def asked(
    running: RunningEngine,
    *,
    key: str = KEY,
    bearer: str = "",
    method: str = "POST",
    path: str = "/v1/completions",
    body: Any = None,
) -> tuple[int, bytes]:
    """What Serve's proxy gets for a request under the model's route."""
    content = json.dumps(body or {"model": "m", "prompt": "Hi", "max_tokens": 1}).encode()
    scope = {
        "type": "http",
        "method": method,
        "path": f"/demo/models/m{path}",
        "root_path": "/demo/models/m",
        "query_string": b"",
        "headers": [
            (INTERNAL_KEY_HEADER.encode(), key.encode("latin-1")),
            (b"authorization", bearer.encode("latin-1")),
            (b"content-type", b"application/json"),
            (b"content-length", b"1"),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    answer = await forward(Request(scope, receive), running.client, KEY, TOKEN)
    return answer.status_code, await whole(answer)


async def whole(answer: Response) -> bytes:
    """The body of an answer, streamed or not."""
    stream = getattr(answer, "body_iterator", None)
    return b"".join([part async for part in stream]) if stream else bytes(answer.body)


def test_through_serve(tmp_path: Path) -> None:
    """Passed on as it is with the gateway's key, and refused without it, whatever the header holds."""

    async def test() -> None:
        async with started(tmp_path) as running:
            await serving(running)
            status, body = await asked(running)
            assert (status, json.loads(body)["object"]) == (200, "text_completion")
            status, body = await asked(running, body={"model": "m", "prompt": "Hi", "stream": True, "max_tokens": 3})
            assert status == 200
            assert body.startswith(b"data: {")
            assert body.endswith(b"data: [DONE]\n\n")
            status, body = await asked(running, path="/nowhere", method="GET")
            assert status == 404
            status, body = await asked(running, path="/nowhere/../health", method="GET")
            assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")
            for key in ("", "wrong", "k\xe9y"):
                for bearer in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
                    assert (await asked(running, key=key, bearer=bearer))[0] == 200
                for bearer in ("", "Bearer", "Bearer ", f"Bearer {KEY}", f"Basic {TOKEN}", TOKEN, "Bearer t\xf6ken"):
                    assert (await asked(running, key=key, bearer=bearer))[0] == 403
                status, body = await asked(running, key=key)
                assert (status, json.loads(body)["error"]["code"]) == (403, "forbidden")
                assert KEY.encode() not in body
            os.kill(running.process.pid, 9)
            running.process.wait(BOUND_S)
            status, body = await asked(running)
            assert (status, json.loads(body)["error"]["code"]) == (503, "engine_unavailable")

    run(test)
