"""Old files in, one new file out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayllm.config import ConfigErrors
from rayllm.config.building import read_document
from rayllm.config.document import KeyPath
from rayllm.errors import InputError
from rayllm_backend_cai.migrate.clusters import Cluster, cluster_of
from rayllm_backend_cai.migrate.models import model_of
from rayllm_backend_cai.migrate.old import Block, Note, Notes
from rayllm_backend_cai.migrate.writing import written

_BLOCKS = ("cai", "ray_cluster", "cluster", "model")
"""One of these is in every file of the old tool that says what runs where."""
_EXAMPLE = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"
"""A small model, for who has named none."""


@dataclass(frozen=True)
class Converted:
    """What became of a file."""

    text: str
    """RayLLM's file."""
    notes: Sequence[Note]
    """What has no counterpart, or means something else now, in the order of the old file."""


def convert(path: Path) -> Converted:
    """Read a file of ray-serve-cai.

    Raises:
        InputError: there is no such file, or it is none of ray-serve-cai's that could be converted.
        ConfigErrors: something is wrong in it; all of it.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}", cure="name the old tool's file, as cai_cluster.yaml")
    document = read_document(path, {})
    _require_kind(path, document.data)
    notes = Notes(lambda at: document.place(at, key=True), problems=document.problems)
    root = Block(document.data, notes)
    cluster = cluster_of(root)
    data, comments = _file_of(root, cluster)
    root.end(*_BLOCKS, "ray", "environment", "deployment")
    if notes.problems:
        raise ConfigErrors(path, notes.problems)
    steps = [f"  {command:<40} {why}" for command, why in notes.steps.items()]
    before = ["Before the first `rayllm up`:", *steps, ""] if steps else []
    head = [f"From {path.name} of ray-serve-cai.", *before, "Then: rayllm validate, rayllm plan, rayllm up."]
    return Converted(written(data, head, comments), sorted(notes.notes))


def _require_kind(path: Path, data: dict[str, Any]) -> None:
    """Refuse files that say something else.

    Raises:
        InputError: it is one of those.
    """
    if "provider" in data and "cluster_name" in data:
        raise InputError(
            f"{path} is a file of Ray's own cluster launcher",
            cause="it starts machines of a cloud, and says nothing about models",
            cure="start it with `ray up` as before, and name its dashboard: `backend: ray` with `options.address`",
        )
    if "jobs" in data:
        raise InputError(
            f"{path} is the list of ray-serve-cai's jobs",
            cause="`rayllm up` does itself what they did: code, environment, applications",
            cure="convert the file with the cluster: ray_cluster_config.yaml",
        )
    if not any(block in data for block in _BLOCKS):
        raise InputError(
            f"{path} is no file of ray-serve-cai",
            cause=f"it has none of {', '.join(_BLOCKS)}",
            cure="name the file that was given to `launch_cluster --config`",
        )


def _file_of(root: Block, cluster: Cluster) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """The new file's data, and its comments."""
    comments: dict[KeyPath, str] = {}
    data: dict[str, Any] = {"name": cluster.name, "cluster": {"backend": cluster.backend}}
    if cluster.options:
        data["cluster"]["options"] = cluster.options
    if cluster.backend == "cai":
        comments["cluster", "options", "project"] = "by its id, or by its name"
        comments["cluster", "options", "head"] = "Ray's head and the gateway; without GPUs, as before"
    old, deployment = root.block("model"), root.block("deployment")
    use_cpu, port = deployment.flag("use_cpu"), deployment.whole("port", least=1) or old.whole("port", least=1)
    if "model" in root:
        model = model_of(old, use_cpu=use_cpu, gpus_per_node=cluster.gpus_per_node or None)
        old.end()
        data["models"] = {model.name: model.block}
        data |= {"secrets": model.secrets} if model.secrets else {}
    else:
        data["models"] = {"smollm2": _example(cluster)}
        comments["models", "smollm2"] = "an example: the old file named no model. Put yours here"
    if port and cluster.backend == "cai":
        deployment.tell("port", "the endpoint has the application's address: left out")
        old.tell("port", "the endpoint has the application's address: left out")
    elif port:
        data["gateway"] = {"port": port}
        comments["gateway",] = "on 127.0.0.1; `host: 0.0.0.0`, as before, needs `keys`"
    deployment.end()
    return data, comments


def _example(cluster: Cluster) -> dict[str, Any]:
    gpus = int(bool(cluster.gpus_per_node or cluster.options.get("gpus")))
    return {"engine": "vllm", "source": _EXAMPLE, "options": {"max_model_len": 2048}, "resources": {"gpus": gpus}}
