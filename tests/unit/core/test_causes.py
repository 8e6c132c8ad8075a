"""What every engine's failures have in common, and how a plugin extends it."""

from __future__ import annotations

import re

import pytest

from rayllm.causes import COMMON, explained_by


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "resources.memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "more GPUs"),
        ("Please pass the argument `trust_remote_code=True` to allow", "options.trust_remote_code: true"),
        ("OSError: [Errno 98] Address already in use", "another one"),
        ("[Errno 98] error while attempting to bind on address: address already in use", "another one"),
        ("ValueError: Couldn't instantiate the backend tokenizer from one of: ", "lacks its tokenizer"),
        ("SafetensorError: Error while deserializing header: incomplete metadata", "not whole"),
        ("RuntimeError: Cannot find any model weights with `/m`", "no weights"),
        ("OSError: It looks like the config file at '/m/config.json' is not a valid JSON file.", "fetch it anew"),
        ("OSError: /m does not appear to have a file named config.json", "lacks files"),
        ("ValueError: Cannot find model module. 'Foo' is not a registered model", "architecture"),
        ("model type `nosuch` but Transformers does not recognize this architecture. This", "architecture"),
        ("Model architectures ['FooForCausalLM'] are not supported for now.", "architecture"),
        ("ValueError: Unknown quantization method: awqq. Must be one of", "'awqq'"),
        ("ValueError: Invalid quantization method on CPU: fp4. Available", "'fp4'"),
        ("ValueError: Cannot find the config file for awq", "not quantised with awq"),
        ("serve: error: unrecognized arguments: --no-such-flag=3", "take --no-such-flag=3 out"),
        ("error: argument --tool-call-parser: invalid choice: 'nosuch' (choose from", "'nosuch'"),
        ("CUDA error: no kernel image is available for execution on the device", "driver"),
        ("RuntimeError: No CUDA GPUs are available", "nvidia-smi"),
    ],
)
def test_what_all_have_in_common(log: str, advice: str) -> None:
    """Engines' own words, as they were seen, with what to do."""
    told = explained_by(())(f"INFO starting\n{log}\nthe engine ends")
    assert told is not None
    assert advice in told


def test_an_engines_own_come_first() -> None:
    """With the parts of its message in the advice; what nobody knows is left to the log."""
    explain = explained_by(((r"out of memory at (?P<what>\d+)", "set options.size below {what}, {{not}} here"),))
    assert explain("CUDA out of memory at 42") == "set options.size below 42, {not} here"
    assert (explain("CUDA out of memory") or "").startswith("the GPU's memory")
    assert explain("Application startup complete.") is None


@pytest.mark.parametrize(("pattern", "advice"), COMMON)
def test_every_cause_can_be_told(pattern: str, advice: str) -> None:
    """What an advice takes from a message is a group of its pattern, and there in each of its alternatives."""
    groups = re.compile(pattern).groupindex
    assert advice.format(**dict.fromkeys(groups, "x"))
