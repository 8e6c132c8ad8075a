"""Files of ray-serve-cai become files of RayLLM's, and what was lost on the way is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import typer
import yaml

from rayllm import Backend, Command, Engine, Environment, Options
from rayllm.config import Checked, ConfigErrors, load
from rayllm.errors import InputError
from rayllm.plugins import Plugins
from rayllm_backend_cai.migrate import Converted, convert
from rayllm_backend_cai.migrate.__main__ import migrate
from rayllm_backend_cai.options import CaiOptions

LAUNCHER = """
cai:
  host: https://ml.example.com
  api_key: 0123456789abcdef
  project_id: aaaa-bbbb-cccc-dddd
  num_workers: 2
  resources:
    cpu: 16
    memory: 64
    num_gpus: 1
  head_resources:
    cpu: 8
    memory: 32
ray:
  port: 6379
  dashboard_port: 8265
"""
JOBS = """
ray_cluster:
  num_workers: 1
  head_cpu: 8
  head_memory: 32
  worker_cpu: 16
  worker_memory: 32
  worker_gpus: 2
  ray_port: 6379
  dashboard_port: 8265
  management_api_port: 8080
cai:
  runtime_identifier: "registry.example.com/cdsw/ml-runtime-pbj-jupyterlab-python3.11-standard:2025.09.1-b5"
  project_name: "ray-cluster"
  management_api_cpu: 4
  management_api_memory: 8
environment:
"""
ANYWHERE = """
cluster:
  name: "my-llm_cluster"
  ray_address: "auto"
model:
  model_source: "meta-llama/Llama-2-7b-hf"
  tensor_parallel_size: 2
  gpu_memory_utilization: 0.9
  dtype: "auto"
deployment:
  port: 8000
  use_cpu: false
"""
LOCAL = """
cluster:
  port: 6379
  dashboard:
    enabled: true
    port: 8265
  resources:
    num_cpus: 8
    num_gpus: 0
    object_store_memory: 1073741824
  block: false
"""
TOKEN = {"HF_TOKEN": "hf_0123"}


class EngineOptions(Options):
    """The options that converted files may name, of either engine."""

    max_model_len: int | None = None
    context_length: int | None = None
    dtype: str | None = None
    load_format: str = "auto"
    gpu_memory_utilization: float | None = None
    mem_fraction_static: float | None = None
    tensor_parallel_size: int | None = None
    tp_size: int | None = None
    trust_remote_code: bool = False
    chat_template: str | None = None


class LocalOptions(Options):
    """As those of the backend `local`."""

    cpus: int | None = None
    gpus: int | None = None


def never(*_: Any) -> Any:
    """Nobody opens it."""
    raise AssertionError


@pytest.fixture
def plugins() -> Plugins:
    """Core's own, and what files name: the CAI backend's true options, and stand-ins of the others."""
    found = Plugins.discover(disabled="backend-cai,backend-local,engine-vllm,engine-sglang")
    for name, options in (("cai", CaiOptions), ("local", LocalOptions)):
        found.backends[name] = Backend(name=name, summary="", options=options, open=never)
    for name in ("vllm", "sglang"):
        found.engines[name] = Engine(
            name=name,
            summary="",
            options=EngineOptions,
            environment=Environment(()),
            commands=lambda launch: [Command()] * launch.nodes,
            capabilities={"cuda": {"multi-node"}, "cpu": set()},
        )
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Where the old file is."""
    return tmp_path / "old.yaml"


def converted(old: Path, text: str) -> Converted:
    """What becomes of a text."""
    old.write_text(dedent(text))
    return convert(old)


def checked(old: Path, made: Converted, plugins: Plugins) -> Checked:
    """The new file, as `rayllm validate` checks it."""
    new = old.with_name("rayllm.yaml")
    new.write_text(made.text)
    return load(new, plugins, TOKEN)


def told(made: Converted) -> dict[str, int]:
    """What was told of, and the lines."""
    return {note.key: note.line for note in made.notes}


def test_a_launchers_file_becomes_head_and_workers(old: Path, plugins: Plugins) -> None:
    """Each application keeps its size; the head has no GPUs."""
    made = converted(old, LAUNCHER)
    found = checked(old, made, plugins)
    options = found.backend_options
    assert isinstance(options, CaiOptions)
    assert (options.host, options.project) == ("https://ml.example.com", "aaaa-bbbb-cccc-dddd")
    assert (options.head.cpus, options.head.memory, options.head.gpus) == (8, 32 << 30, 0)
    group = options.workers["workers"]
    assert (group.count, group.cpus, group.memory, group.gpus) == (2, 16, 64 << 30, 1)
    assert found.config.name == "ray-cluster"
    assert found.config.models["smollm2"].resources.gpus == 1
    assert "# an example: the old file named no model" in made.text


def test_what_is_lost_is_told_with_its_line(old: Path) -> None:
    """The key's value is in no line of the result."""
    made = converted(old, LAUNCHER)
    lines = {"cai": 2, "cai.api_key": 4, "ray.port": 15, "ray.dashboard_port": 16}
    assert told(made) == lines
    everything = made.text + "".join(note.text for note in made.notes)
    assert "0123456789abcdef" not in everything
    assert "#   export CML_API_KEY=…" in made.text


def test_a_file_of_the_jobs(old: Path, plugins: Plugins) -> None:
    """Its words are others; an image without CUDA is for the head alone."""
    made = converted(old, JOBS)
    options = checked(old, made, plugins).backend_options
    assert isinstance(options, CaiOptions)
    assert options.project == "ray-cluster"
    assert str(options.head.runtime).endswith("python3.11-standard:2025.09.1-b5")
    assert options.workers["workers"].runtime is None
    assert options.workers["workers"].gpus == 2
    lines = told(made)
    assert lines.keys() == {
        *("ray_cluster.ray_port", "ray_cluster.dashboard_port", "ray_cluster.management_api_port"),
        *("cai", "cai.runtime_identifier", "cai.management_api_cpu", "cai.management_api_memory"),
    }
    assert lines["cai.runtime_identifier"] == 13


def test_what_an_old_file_left_out_is_as_the_old_tool_took_it(old: Path, plugins: Plugins) -> None:
    """32 cores, 32 GB, four GPUs; the head as large as a worker."""
    options = checked(old, converted(old, "cai: {host: ml.example.com}"), plugins).backend_options
    assert isinstance(options, CaiOptions)
    group = options.workers["workers"]
    assert (group.count, group.cpus, group.memory, group.gpus) == (1, 32, 32 << 30, 4)
    assert (options.head.cpus, options.head.memory) == (32, 32 << 30)


def test_a_model_anywhere(old: Path, plugins: Plugins) -> None:
    """The README's file: a cluster of one's own, the model with its GPUs, the port."""
    found = checked(old, converted(old, ANYWHERE), plugins)
    model = found.config.models["Llama-2-7b-hf"]
    assert found.config.name == "my-llm-cluster"
    assert found.config.cluster.backend == "local"
    assert model.source == "hf://meta-llama/Llama-2-7b-hf"
    assert model.options == {"gpu_memory_utilization": 0.9, "tensor_parallel_size": 2}
    assert model.resources.gpus == 2
    assert found.config.gateway.port == 8000


def test_that_clients_send_another_name_is_told(old: Path) -> None:
    """Programs break by it."""
    note = next(note for note in converted(old, ANYWHERE).notes if note.key == "model.model_source")
    assert (note.line, "Llama-2-7b-hf" in note.text) == (6, True)


def test_a_cluster_on_this_machine(old: Path, plugins: Plugins) -> None:
    """Cores and GPUs stay; ports and memory are Ray's and RayLLM's own business."""
    made = converted(old, LOCAL)
    assert checked(old, made, plugins).config.cluster.options == {"cpus": 8, "gpus": 0}
    assert told(made)["cluster.resources.object_store_memory"] == 10


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("ray://head-node:10001", "http://head-node:8265"),
        ("192.168.1.100:6379", "http://192.168.1.100:8265"),
        ("http://head:9000/", "http://head:9000"),
    ],
)
def test_a_cluster_at_an_address(old: Path, plugins: Plugins, address: str, url: str) -> None:
    """It is asked at its dashboard, which is told since its port was never written."""
    made = converted(old, ANYWHERE.replace('"auto"', address))
    cluster = checked(old, made, plugins).config.cluster
    assert (cluster.backend, cluster.options) == ("ray", {"address": url})
    assert "cluster.ray_address" in told(made)


def test_every_setting_of_a_model(old: Path, plugins: Plugins) -> None:
    """By the engine's own words; the token becomes a secret that is read from the environment."""
    model = """
    model:
      model: org/model
      max_model_len: 4096
      dtype: half
      load_format: safetensors
      trust_remote_code: true
      custom_chat_template: "{{ a }}\\n{{ b }}"
      hf_token: hf_written_down
      download_dir: /models
      enable_prefix_caching: true
      gpu_device: "0,1"
      disable_log_stats: true
      colour: red
    """
    made = converted(old, model)
    found = checked(old, made, plugins)
    assert found.config.models["model"].options == {
        "max_model_len": 4096,
        "dtype": "float16",
        "load_format": "safetensors",
        "trust_remote_code": True,
        "chat_template": "{{ a }}\n{{ b }}",
    }
    assert found.secrets == TOKEN
    assert "hf_written_down" not in made.text
    gone = ("download_dir", "enable_prefix_caching", "gpu_device", "disable_log_stats", "colour", "hf_token", "model")
    assert told(made).keys() == {f"model.{key}" for key in gone}


def test_sglang_has_words_of_its_own(old: Path, plugins: Plugins) -> None:
    """The old tool only promised it."""
    made = converted(
        old,
        "model: {model: /m, engine: sglang, max_model_len: 8, gpu_memory_utilization: 0.8, tensor_parallel_size: 2}",
    )
    model = checked(old, made, plugins).config.models["m"]
    assert model.options == {"context_length": 8, "mem_fraction_static": 0.8, "tp_size": 2}
    assert "model.gpu_memory_utilization" in told(made)


def test_without_gpus(old: Path, plugins: Plugins) -> None:
    """The share of a GPU's memory goes, too."""
    made = converted(old, ANYWHERE.replace("use_cpu: false", "use_cpu: true"))
    model = checked(old, made, plugins).config.models["Llama-2-7b-hf"]
    assert (model.resources.gpus, model.resources.cpus, model.options) == (0, 4, {})
    assert "model.gpu_memory_utilization" in told(made)


def test_a_model_over_several_workers(old: Path, plugins: Plugins) -> None:
    """Workers of one GPU hold a model of two together."""
    made = converted(old, LAUNCHER + "model: {model: org/m, tensor_parallel_size: 2}")
    resources = checked(old, made, plugins).config.models["m"].resources
    assert (resources.gpus, resources.nodes) == (1, 2)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("cai:\n  num_workers: two", 2, "cai.num_workers: a whole number expected"),
        ("cai:\n  resources: 7", 2, "cai.resources: keys and values expected"),
        ("cai:\n  resources: {memory: -1}", 2, "cai.resources.memory: more than 0 expected"),
        ("model: {dtype: half}", 1, "model.model: the model's name is required, and missing"),
        ("model:\n  model: ./weights", 2, "model.model: write the path as it is on the nodes"),
        ("cai: {}\ncai: {}", 2, "cai: written twice"),
    ],
)
def test_a_mistake_in_the_old_file_has_its_place(old: Path, text: str, line: int, message: str) -> None:
    """As those of RayLLM's own files."""
    with pytest.raises(ConfigErrors) as caught:
        converted(old, text)
    assert f"{old}:{line}:" in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_not_there(old: Path) -> None:
    """RayLLM's own would not help."""
    old.unlink(missing_ok=True)
    with pytest.raises(InputError, match="there is no file") as caught:
        convert(old)
    assert "rayllm init" not in (caught.value.cure or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster_name: c\nprovider: {type: aws}", "Ray's own cluster launcher"),
        ("jobs: {git_sync: {}}", "the list of ray-serve-cai's jobs"),
        ("models: {}", "no file of ray-serve-cai"),
    ],
)
def test_other_files_are_refused(old: Path, text: str, message: str) -> None:
    """With what to do."""
    with pytest.raises(InputError, match=message) as caught:
        converted(old, text)
    assert caught.value.cure


def test_comments_leave_the_data_as_it_is(old: Path) -> None:
    """Read back, a name that YAML would take for something else is still text."""
    made = converted(old, "cai: {host: ml.example.com, project_name: 'on # off'}")
    data: dict[str, Any] = yaml.safe_load(made.text)
    assert data["cluster"]["options"]["project"] == "on # off"


def test_the_true_engines_take_it(old: Path) -> None:
    """Where they are installed, a converted file passes with their own options."""
    pytest.importorskip("rayllm_engine_vllm")
    pytest.importorskip("rayllm_engine_sglang")
    plugins = Plugins.discover()
    plugins.backends["cai"] = Backend(name="cai", summary="", options=CaiOptions, open=never)
    settings = "{model: org/m, tensor_parallel_size: 2, dtype: half, max_model_len: 8, gpu_memory_utilization: 0.8}"
    for engine in ("vllm", "sglang"):
        made = converted(old, f"{LAUNCHER}model: {settings}".replace("{model", f"{{engine: {engine}, model"))
        assert checked(old, made, plugins).config.models["m"].engine == engine


def test_the_command(old: Path) -> None:
    """The file goes to stdout, what is lost to stderr."""
    old.write_text(LAUNCHER)
    command = [sys.executable, "-m", "rayllm_backend_cai.migrate", str(old)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == convert(old).text
    assert f"{old}:4  cai.api_key: " in shown.stderr


def test_nothing_is_written_over(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a file that is new."""
    old.write_text(LAUNCHER)
    new = old.with_name("new.yaml")
    migrate(old, new)
    assert new.read_text() == convert(old).text
    with pytest.raises(typer.Exit) as caught:
        migrate(old, new)
    assert caught.value.exit_code == 2
    assert "is there already" in capsys.readouterr().err
