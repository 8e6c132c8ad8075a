"""The lists of vLLM's own flags, and what is said with them of a wrong `engine_args`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from packaging.requirements import Requirement

from rayllm import Device, Launch
from rayllm.arguments.check import complaints
from rayllm.arguments.listing import ArgumentList, read_list
from rayllm_engine_vllm.arguments import ARGUMENTS
from rayllm_engine_vllm.commands import commands
from rayllm_engine_vllm.environments import environments
from rayllm_engine_vllm.options import VllmOptions

KINDS = ("cpu", "cuda")
OPEN = {"load_format"}
"""Options whose flags name no choices, since plugins of vLLM add some."""
EVERYTHING = {
    "max_model_len": 1024,
    "dtype": "float32",
    "quantization": "fp8",
    "load_format": "runai_streamer",
    "gpu_memory_utilization": 0.5,
    "kv_cache_gb": 1,
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 2,
    "data_parallel_size": 2,
    "enable_expert_parallel": True,
    "max_num_seqs": 4,
    "enforce_eager": False,
    "seed": 1,
    "trust_remote_code": True,
    "chat_template": "t",
    "tool_call_parser": "hermes",
    "reasoning_parser": "qwen3",
    "enable_lora": True,
    "max_loras": 1,
    "max_cpu_loras": 2,
    "max_lora_rank": 8,
    "runner": "pooling",
    "convert": "embed",
}
"""A value for each option, none of them what is left out of the command line."""
NOT_IN_FLAGS = {"engine_args"}


def known(kind: str) -> ArgumentList:
    """The pinned list for a device."""
    return read_list(ARGUMENTS.pinned[kind])


def said(kind: str, values: dict[str, Any]) -> list[str]:
    """What is wrong with these flags."""
    return [one.sentence(values) for one in complaints(ARGUMENTS, known(kind), values)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_of_the_pinned_package(kind: str) -> None:
    """The same version as in the lock, so that another lock needs another list."""
    listed = known(kind)
    pins = {pin.name: pin.specifier for pin in map(Requirement, environments()[kind].requires)}
    assert str(pins[listed.package]) == f"=={listed.version}"
    assert listed.package == Requirement(environments()[kind].provides).name
    assert len(listed.arguments) > 250


@pytest.mark.parametrize("kind", KINDS)
def test_every_flag_that_rayllm_writes_exists(kind: str) -> None:
    """All options set at once, in both forms of the switch that has two."""
    assert set(EVERYTHING) == set(VllmOptions.model_fields) - NOT_IN_FLAGS
    for eager in (True, False):
        options = VllmOptions.model_validate({**EVERYTHING, "enforce_eager": eager})
        launch = Launch(
            python="python",
            model_path="/m",
            model_name="m",
            options=options,
            host="127.0.0.1",
            port=2000,
            device=Device(kind=kind),
            gpus=8 if kind == "cuda" else 0,
        )
        (command,) = commands(launch)
        written = [word.partition("=")[0] for word in command.argv if word.startswith("--")]
        assert len(written) >= len(EVERYTHING) + 4
        assert [flag for flag in written if flag not in known(kind).by_flag] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_of_an_option_is_one_of_the_flags(kind: str) -> None:
    """A Literal of ours never allows what vLLM refuses."""
    properties = VllmOptions.model_json_schema()["properties"]
    for name, facts in properties.items():
        allowed: list[str] = next((item["enum"] for item in [facts, *facts.get("anyOf", ())] if "enum" in item), [])
        argument = known(kind).long(name.replace("_", "-"))
        if name in OPEN:
            assert argument
            assert not argument.choices
            continue
        assert not allowed or (argument and set(allowed) <= set(argument.choices)), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_owned_flag_is_one(kind: str) -> None:
    """No leftover of an older version, under any of its names."""
    options = {"kv-cache-gb"}  # behind --kv-cache-memory-bytes
    flags = known(kind).by_flag
    assert [flag for flag in ARGUMENTS.owned if f"--{flag}" not in flags and flag not in options] == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": 1}, "port: can't be set here: RayLLM chooses the port"),
        ({"--api_key": "k"}, "--api_key: can't be set here: RayLLM guards the engine itself"),
        ({"served-model-name": "x"}, "served-model-name: can't be set here: it is the model's name in the YAML"),
        ({"max-model-len": 1}, "max-model-len: can't be set here: write `max_model_len:` beside engine_args"),
        ({"tp": 2}, "tp: can't be set here: write `tensor_parallel_size:` beside engine_args"),
        ({"no-enforce-eager": True}, "no-enforce-eager: can't be set here: write `enforce_eager:` beside engine_args"),
        ({"kv_cache_memory_bytes": 1}, "can't be set here: write `kv_cache_gb:` beside engine_args"),
        ({"hf-token": "x"}, "hf-token: can't be set here: the engine fetches nothing"),
        ({"max-num-bached-tokens": 1}, 'has no such argument; did you mean "max-num-batched-tokens"?'),
        ({"asc": 2}, "asc: a short form; write `api-server-count`"),
        ({"max-num-batched-tokens": "4096"}, 'a whole number, or one like 8k expected, found text "4096"'),
        ({"enable-prefix-caching": "yes"}, 'true or false expected, found text "yes"'),
        (
            {"scheduling-policy": "fcsf"},
            'one of its choices expected, found text "fcsf"; did you mean "fcfs"?   choices: fcfs, priority',
        ),
        ({"tokenizer": ["a"]}, "tokenizer: one value expected, found a list"),
        ({"compilation-config": "{level: 3}"}, "compilation-config: not JSON (Expecting property name"),
        ({"block-size": 16, "block_size": 32}, "block_size: sets the same as block-size, which stands here too"),
        (
            {"compilation-config": {}, "compilation_config.level": 3},
            "compilation_config.level: sets the same as compilation-config, which stands here too",
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_refused(kind: str, values: dict[str, Any], words: str) -> None:
    """With both versions, in words that lead to the cure."""
    (found,) = said(kind, values)
    assert words in found


def test_the_version_is_named() -> None:
    """An argument that one version has and the other lacks is a mistake of the version."""
    assert re.fullmatch(r"zzz: vLLM 0\.32\.\d+ has no such argument", said("cpu", {"zzz": 1})[0])
    assert re.fullmatch(r"zzz: vLLM 0\.33\.\d+ has no such argument", said("cuda", {"zzz": 1})[0])


@pytest.mark.parametrize("kind", KINDS)
def test_accepted(kind: str) -> None:
    """What people write."""
    values = {
        "max_num_batched_tokens": "8k",
        "--enable-prefix-caching": False,
        "compilation-config": {"cudagraph_capture_sizes": [1, 2]},
        "speculative_config": '{"method": "ngram", "num_speculative_tokens": 3}',
        "kernel-config.ir_op_priority": {},
        "allowed-origins": ["*"],
        "middleware": ["a.b"],
        "block-size": 16,
    }
    assert said(kind, values) == []
