"""The list of SGLang's own flags, and what is said with it of a wrong `engine_args`."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.requirements import Requirement

from rayllm import Device, Launch
from rayllm.arguments.check import complaints
from rayllm.arguments.listing import ArgumentList, read_list
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.commands import commands
from rayllm_engine_sglang.environments import environments
from rayllm_engine_sglang.options import SglangOptions

KINDS = ("cpu", "cuda")
EVERYTHING = {
    "context_length": 1024,
    "dtype": "float32",
    "quantization": "fp8",
    "load_format": "runai_streamer",
    "mem_fraction_static": 0.5,
    "max_total_tokens": 4096,
    "tp_size": 2,
    "pp_size": 2,
    "dp_size": 2,
    "attn_dp_size": 2,
    "ep_size": 2,
    "max_running_requests": 4,
    "seed": 1,
    "trust_remote_code": True,
    "chat_template": "t",
    "tool_call_parser": "qwen",
    "reasoning_parser": "qwen3",
    "embedding": True,
    "sleep_on_idle": True,
    "enable_lora": True,
    "max_loras_per_batch": 4,
    "max_loaded_loras": 8,
    "max_lora_rank": 8,
    "lora_target_modules": ["q_proj"],
    "lora_backend": "triton",
}
"""A value for each option, none of them what is left out of the command line."""


def known() -> ArgumentList:
    """The pinned list, for all devices."""
    return read_list(ARGUMENTS.pinned["cpu"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_is_of_the_pinned_package(kind: str) -> None:
    """The same version as in both locks, so that another lock needs another list."""
    listed = read_list(ARGUMENTS.pinned[kind])
    pins = {pin.name: pin.specifier for pin in map(Requirement, environments()[kind].requires)}
    assert str(pins[listed.package]) == f"=={listed.version}"
    assert listed.package == Requirement(environments()[kind].provides).name
    assert len(listed.arguments) > 400


@pytest.mark.parametrize("kind", KINDS)
def test_every_flag_that_rayllm_writes_exists(kind: str) -> None:
    """All options set at once."""
    assert set(EVERYTHING) == set(SglangOptions.model_fields) - {"engine_args"}
    gpus = 8 if kind == "cuda" else 0
    launch = Launch(
        python="python",
        model_path="/m",
        model_name="m",
        options=SglangOptions.model_validate(EVERYTHING),
        host="127.0.0.1",
        port=2000,
        device=Device(kind=kind),
        gpus=gpus,
    )
    (command,) = commands(launch)
    written = [word.partition("=")[0] for word in command.argv if word.startswith("--")]
    assert len(written) >= len(EVERYTHING) + 4
    assert [flag for flag in written if flag not in known().by_flag] == []


def test_every_choice_of_an_option_is_one_of_the_flags() -> None:
    """A Literal of ours never allows what SGLang refuses."""
    for name, facts in SglangOptions.model_json_schema()["properties"].items():
        allowed: list[str] = next((item["enum"] for item in [facts, *facts.get("anyOf", ())] if "enum" in item), [])
        argument = known().long(name.replace("_", "-"))
        assert not allowed or (argument and set(allowed) <= set(argument.choices)), name


def test_every_owned_flag_is_one() -> None:
    """No leftover of another version, under any of its names."""
    assert [flag for flag in ARGUMENTS.owned if f"--{flag}" not in known().by_flag] == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": 1}, "port: can't be set here: RayLLM chooses the port"),
        ({"api_key": "k"}, "api_key: can't be set here: RayLLM guards the engine itself"),
        ({"model": "x"}, "model: can't be set here: write the model's `source:`"),
        ({"tensor-parallel-size": 2}, "can't be set here: write `tp_size:` beside engine_args"),
        ({"random-seed": 2}, "can't be set here: write `seed:` beside engine_args"),
        ({"is-embedding": True}, "can't be set here: write `embedding:` beside engine_args"),
        ({"chunked-prefil-size": 1}, 'SGLang 0.5.23 has no such argument; did you mean "chunked-prefill-size"?'),
        ({"chunked-prefill-size": "many"}, 'a whole number expected, found text "many"'),
        ({"disable-radix-cache": "yes"}, 'true or false expected, found text "yes"'),
        ({"schedule-policy": "fcsf"}, 'one of its choices expected, found text "fcsf"; did you mean "fcfs"?'),
        ({"nnodes": 2}, "nnodes: can't be set here: RayLLM starts the ranks"),
    ],
)
def test_refused(values: dict[str, Any], words: str) -> None:
    """In words that lead to the cure."""
    (found,) = complaints(ARGUMENTS, known(), values)
    assert words in found.sentence(values)


def test_accepted() -> None:
    """What people write."""
    values = {
        "chunked_prefill_size": 2048,
        "--schedule-policy": "lpm",
        "disable-radix-cache": True,
        "preferred-sampling-params": {"top_k": 1},
        "cuda-graph-bs-decode": [1, 2, 4],
        "kv-cache-dtype": "fp8_e5m2",
    }
    assert complaints(ARGUMENTS, known(), values) == []
