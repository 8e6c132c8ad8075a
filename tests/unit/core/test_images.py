"""Engines in container images: the exact command lines, what is mounted, what goes with `image:` in a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.conftest import Checker

from rayllm import Command, DeploymentError
from rayllm.config.schema import DeploymentConfig
from rayllm.deployment.plan import plan
from rayllm.deployment.serve_config import model_spec
from rayllm.errors import InputError
from rayllm.plugins import Plugins
from rayllm.serving.adapters.fetching import fetch_adapter
from rayllm.serving.containers.command import run_command
from rayllm.serving.containers.container import Container, contain
from rayllm.serving.containers.mounts import mounts_of
from rayllm.serving.containers.runtime import Runtime
from rayllm.sources import ModelSource

IMAGE = "vllm/vllm-openai:v0.33.0"
ENGINE = ["python3", "-P", "/code/rayllm_engine_vllm/serve.py", "serve", "--port", "20001"]
PLAIN: dict[str, Any] = {
    "image": IMAGE,
    "name": "rayllm-1000.demo--llama.ab12",
    "owner": "1000.demo--llama",
    "gpu_ids": [],
    "mounts": [],
    "env": [],
    "memory": None,
}
ALWAYS = [
    *("run", "--rm", "--init", "--name", PLAIN["name"], "--label", f"rayllm.owner={PLAIN['owner']}"),
    *("--network", "host", "--ipc", "host"),
]
END = ["--entrypoint", "python3", IMAGE, "-P", "/code/rayllm_engine_vllm/serve.py", "serve", "--port", "20001"]


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_on_a_cpu(kind: Any) -> None:
    """No GPU is passed; the image's own interpreter is its entry point."""
    argv = run_command(ENGINE, kind=kind, program=f"/usr/bin/{kind}", **PLAIN)
    assert argv == [f"/usr/bin/{kind}", *ALWAYS, *END]


@pytest.mark.parametrize(
    ("kind", "gpus"),
    [
        ("docker", ["--gpus", '"device=0,GPU-1f2e"']),
        ("podman", ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=GPU-1f2e"]),
    ],
)
def test_with_everything(kind: Any, gpus: list[str]) -> None:
    """GPUs as each program has them; variables by their names alone."""
    some: dict[str, Any] = {
        "gpu_ids": ["0", "GPU-1f2e"],
        "mounts": [Path("/home/ann/.rayllm/models"), Path('/data/a, "b"')],
        "env": ["HF_HUB_OFFLINE", "OMP_NUM_THREADS"],
        "memory": 8 << 30,
    }
    argv = run_command(ENGINE, kind=kind, program=kind, **PLAIN | some)
    folder = "/home/ann/.rayllm/models"
    odd = 'type=bind,"source=/data/a, ""b""","target=/data/a, ""b""",readonly'
    assert argv == [
        kind,
        *ALWAYS,
        *gpus,
        *("--mount", f"type=bind,source={folder},target={folder},readonly"),
        *("--mount", odd),
        *("--env", "HF_HUB_OFFLINE", "--env", "OMP_NUM_THREADS"),
        *("--memory", "8589934592"),
        *END,
    ]
    assert next(csv.reader([odd]))[1] == 'source=/data/a, "b"'


def test_values_of_variables_are_in_no_argv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only their names; the node's own variables reach the client, which has to find its daemon, and no engine."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/7/docker.sock")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    command = Command("python3", "-m", "server", env={"TOKENS": "v4lue"})
    found = contain(
        Runtime("docker", "/bin/docker"),
        IMAGE,
        command,
        marker="demo--a.b:r1",
        folder=tmp_path,
        gpu_ids=[],
        memory=None,
    )
    names = [found.argv[at + 1] for at, word in enumerate(found.argv) if word == "--env"]
    assert (names, "v4lue" in " ".join(found.argv)) == (["PYTHONUNBUFFERED", "TOKENS"], False)
    assert (found.env["TOKENS"], found.env["DOCKER_HOST"]) == ("v4lue", "unix:///run/user/7/docker.sock")
    assert "RAY_ADDRESS" not in found.env
    assert found.name.startswith("rayllm-")
    assert found.name.endswith(".demo--a.b.r1")


def test_what_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All models of RayLLM's folder, the model's own with what its links lead to, scripts with their folder, files."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    folder, blobs, code = tmp_path / "model", tmp_path / "blobs", tmp_path / "code"
    for made in (folder, blobs, code, tmp_path / "cache"):
        made.mkdir()
    for file in (blobs / "1", code / "serve.py", tmp_path / "chat.jinja", tmp_path / "other.jinja", folder / "own"):
        file.touch()
    (folder / "model.safetensors").symlink_to("../blobs/1")
    argv = ["python3", str(code / "serve.py"), "--chat-template", str(tmp_path / "chat.jinja")]
    argv += [f"--more={tmp_path / 'other.jinja'}", "--download-dir", str(tmp_path / "cache"), "/v1/nowhere"]
    models = tmp_path / "home/models"
    found = mounts_of([*argv, "--own", str(folder / "own")], folder)
    assert found == sorted(
        [models, folder, blobs / "1", code, tmp_path / "chat.jinja", tmp_path / "other.jinja"],
    )
    inside = models / "hub/m"
    inside.mkdir(parents=True)
    assert mounts_of([], inside) == [models]


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (
            125,
            'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
            "container toolkit",
        ),
        (125, "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=0", "nvidia-ctk cdi generate"),
        (125, "docker: invalid reference format", "by hand"),
        (127, 'exec: "python3": executable file not found in $PATH: unknown', "has python3"),
    ],
)
def test_a_container_that_was_refused(status: int, said: str, words: str) -> None:
    """The program's own words, and what to do."""
    container = Container(runtime=Runtime("docker", "docker"), name="n", argv=[], env={})
    error = container.refused(status, [said])
    assert error
    assert (error.cause, error.topic) == (said, "image")
    assert words in str(error.cure)


def test_an_exit_status_is_the_engines() -> None:
    """A signal is told as of any process: 137 is the kernel's end of what took too much memory."""
    container = Container(runtime=Runtime("podman", "podman"), name="n", argv=[], env={})
    assert [container.status(status) for status in (None, 0, 1, 137, -9)] == [None, 0, 1, -9, -9]
    assert container.refused(1, ["ValueError: x"]) is None


MISTAKES = {
    "image: vllm:1, environment: current": (
        "environment: image and environment exclude each other: an image holds the engine",
        "leave one of them out",
    ),
    'image: vllm:1, version: "1.2.0"': (
        "version: image and version exclude each other: an image holds one version of the engine",
        "leave version out, and choose by the image's tag",
    ),
    "image: vllm:1, resources: {nodes: 2}": (
        "image: a replica on 2 nodes takes no image",
        "set resources.nodes to 1, or leave image out",
    ),
    "image: -v": ('image: an image\'s name like vllm/vllm-openai:v0.33.0 expected, found text "-v"', ""),
    'image: ""': ('image: an image\'s name like vllm/vllm-openai:v0.33.0 expected, found text ""', ""),
}


@pytest.mark.parametrize("more", MISTAKES)
def test_what_does_not_go_with_an_image(check: Checker, more: str) -> None:
    """Each at its place."""
    message, cure = MISTAKES[more]
    found = check.mistakes(f"name: d\nmodels:\n  m: {{engine: vllm, source: /m, {more}}}\n")
    wrong = [line for line in found if f"models.m.{message}" in line]
    assert len(wrong) == 1, found
    column = int(wrong[0].split(":")[2].split()[0])
    assert wrong[0].startswith("f:3:")
    assert column > len("  m: {engine: vllm, source: /m, ")
    assert not cure or any(line.strip() == f"→ {cure}" for line in found)


def test_a_gguf_file_with_an_image(check: Checker) -> None:
    """What converts it is not known to be in there."""
    found = check.mistakes("name: d\nmodels: {m: {engine: vllm, source: /m.GGUF, image: a}}")
    assert any("models.m.source: a GGUF file is converted in an environment" in line for line in found), found


def test_from_the_file_to_the_plan(check: Checker) -> None:
    """The replicas get it, the plan tells it, and a change restarts."""

    def app(config: DeploymentConfig) -> dict[str, Any]:
        args = model_spec("d", "m", config.models["m"], {}).to_args()
        return {"args": args, "deployments": [{"num_replicas": 1}]}

    file = "name: d\nmodels: {m: {engine: vllm, source: /m, image: vllm/vllm-openai:v%s}}"
    old, new = (app(check.right(file % version).config) for version in ("1", "2"))
    (change,) = plan({"m": new}, {"m": old})
    assert change.summary.startswith("vllm in vllm/vllm-openai:v2 · m · 1 replica")
    (field,) = change.fields
    assert (field.field, field.before, field.after) == ("image", "vllm/vllm-openai:v1", "vllm/vllm-openai:v2")
    assert change.effect == "restarts its replica"


def test_an_adapter_that_the_container_can_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came after its start is seen under RayLLM's models alone."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    inside, outside = tmp_path / "home/models/sql", tmp_path / "sql"
    plugins = Plugins()
    plugins.sources["file"] = ModelSource(
        scheme="file", summary="", check=lambda _: None, fetch=lambda uri, *_: Path(uri.removeprefix("file:"))
    )
    for folder in (inside, outside):
        folder.mkdir(parents=True)
    assert fetch_adapter(f"file:{inside}", print, plugins=plugins, image=IMAGE) == inside
    assert fetch_adapter(f"file:{outside}", print, plugins=plugins) == outside
    with pytest.raises(InputError, match=f"sql is not in the container of {IMAGE}"):
        fetch_adapter(f"file:{outside}", print, plugins=plugins, image=IMAGE)


def test_a_node_without_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither program is there."""
    from rayllm.serving.containers.runtime import find_runtime

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeploymentError, match="this node has no podman or docker") as caught:
        find_runtime()
    assert caught.value.topic == "image"
