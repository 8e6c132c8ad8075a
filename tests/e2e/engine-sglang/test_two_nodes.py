"""Tensor parallel over two nodes with both engines: the same tokens as from one process, and one rank's death is all's.

The tests go on from one another, in this order.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, until

from rayllm.serving.processes.supervised import marked as owned

UP_S = 1200
"""Building an environment on an empty cache, and starting three processes of an engine, on a busy machine."""
BACK_S = 400
"""Starting the two of a replica again."""
PORT = free_port()
LENGTH = {"vllm": "max_model_len", "sglang": "context_length"}
PARTS = {"vllm": "tensor_parallel_size", "sglang": "tp_size"}
BEGINNINGS = ("a b c", "to be ma", "z")


@pytest.fixture(scope="module")
def model(rayllm: Rayllm) -> Path:
    """The model, written by vLLM's environment."""
    rayllm("env", "build", "vllm", seconds=UP_S)
    python = max(rayllm.home.glob("environments/vllm-cpu-*/bin/python"), key=lambda path: path.stat().st_mtime)
    folder = rayllm.folder / "tiny-llama"
    subprocess.run([python, Path(__file__).with_name("tiny_llama.py"), folder], check=True)
    return folder


def up(rayllm: Rayllm, engine: str, model: Path) -> None:
    """Serve the model in one process, and in one on each of two nodes."""
    # In bfloat16 sums of two halves are rounded otherwise than whole ones, and a random model notices.
    options: dict[str, Any] = {LENGTH[engine]: 256, "dtype": "float32"}
    block = {"engine": engine, "source": str(model), "drain_s": 5}
    models = {
        "whole": {**block, "options": options, "resources": {"cpus": 1, "memory": "1GiB"}},
        "split": {
            **block,
            "options": {**options, PARTS[engine]: 2},
            "resources": {"cpus": 0.5, "memory": "1GiB", "nodes": 2},
        },
    }
    cluster = {"backend": "multinode", "options": {"workers": 1, "cpus": 2}}
    rayllm.write(yaml.safe_dump({"name": "two-nodes", "cluster": cluster, "models": models, "gateway": {"port": PORT}}))
    rayllm("up", "--yes", seconds=UP_S)


def tokens(name: str, beginning: str) -> list[str]:
    """The likeliest tokens that follow a text."""
    body = {"model": name, "prompt": beginning, "max_tokens": 24, "temperature": 0, "logprobs": 1}
    answer = httpx.post(f"http://127.0.0.1:{PORT}/v1/completions", json=body, trust_env=False, timeout=120)
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["choices"][0]["logprobs"]["tokens"]
    return found


def try_tokens(name: str) -> list[str]:
    """As `tokens`; none while it does not answer."""
    try:
        return tokens(name, BEGINNINGS[0])
    except (AssertionError, httpx.HTTPError):
        return []


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_same_tokens_as_from_one_process(rayllm: Rayllm, model: Path, engine: str) -> None:
    """Greedily, and on two nodes indeed."""
    up(rayllm, engine, model)
    (replica,) = rayllm.json("status")["models"]["split"]["replicas"]
    assert len({replica["node"], *replica["ranks"]}) == 2
    for beginning in BEGINNINGS:
        whole = tokens("whole", beginning)
        assert len(whole) > 8
        assert tokens("split", beginning) == whole


def test_a_killed_rank_takes_all_along(rayllm: Rayllm) -> None:
    """By itself, the first rank would go on to answer /health, and the worker of the killed one would stay."""
    answer, before = tokens("whole", BEGINNINGS[0]), owned("two-nodes--split:")
    (second,) = [pid for pid in before if "--headless" in command_of(pid) and "reaper.py" not in command_of(pid)]
    assert len(before) > 4, "workers among them"
    os.kill(second, signal.SIGKILL)
    until("all of the replica is gone", lambda: not set(before) & set(owned("two-nodes--split:")), 60)
    until("the model answers", lambda: try_tokens("split"), BACK_S)
    assert tokens("split", BEGINNINGS[0]) == answer
    past = rayllm.json("status")["models"]["split"]["past"]
    assert "its rank died while serving (killed by signal 9)" in past["message"]
