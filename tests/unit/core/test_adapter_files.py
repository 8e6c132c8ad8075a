"""Whether a folder is a LoRA adapter for a model: told from the files alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest
from tests.lora_files import save_adapter, save_model, save_tensors

from rayllm import Adapters, InputError
from rayllm.serving.adapters.fit import require_fit
from rayllm.serving.adapters.tensors import Tensor, tensors_of

ENGINE = Adapters(load="/load", unload="/unload", room="max_loras", rank="max_lora_rank")


def refusal(adapter: Path, model: Path, engine: Adapters = ENGINE, highest: int = 16) -> str:
    """What is said of one that does not fit."""
    with pytest.raises(InputError) as caught:
        require_fit(adapter, model, engine, highest)
    assert caught.value.topic == "adapters"
    return str(caught.value)


def test_one_that_fits(tmp_path: Path) -> None:
    """Also one that changes some layers alone, and one for modules that the model's files name otherwise."""
    model = save_model(tmp_path / "model", width=8, layers=3)
    require_fit(save_adapter(tmp_path / "some", width=8, layers=2), model, ENGINE, 16)
    require_fit(save_adapter(tmp_path / "renamed", width=99, names=("qkv",)), model, ENGINE, 16)


def test_one_for_another_model(tmp_path: Path) -> None:
    """Told with the module and both sizes, and with what it was made for."""
    model = save_model(tmp_path / "model", width=8, layers=2)
    said = refusal(save_adapter(tmp_path / "wide", width=16), model)
    assert "is for another model: model.layers.0.self_attn.q_proj is 16 wide there (in), and 8 in the model" in said
    assert "it says that it was made for org/base" in said
    said = refusal(save_adapter(tmp_path / "deep", layers=3), model)
    assert "it changes model.layers.2.self_attn.q_proj, and the model has no such layer" in said
    save_adapter(tmp_path / "out")
    names = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight" for part in "AB"}
    shapes = {name: (4, 8) if "lora_A" in name else (24, 4) for name in sorted(names)}
    save_tensors(tmp_path / "out/adapter_model.safetensors", shapes)
    assert "q_proj is 24 wide there (out), and 8 in the model" in refusal(tmp_path / "out", model)


def test_packed_weights_are_not_compared(tmp_path: Path) -> None:
    """Four-bit numbers lie in bytes: the engine knows their shape."""
    require_fit(save_adapter(tmp_path / "a", width=16), save_model(tmp_path / "model", dtype="U8"), ENGINE, 16)


def test_a_rank_that_is_too_high(tmp_path: Path) -> None:
    """Of the whole adapter or of a part of it, with the option to raise."""
    model, adapter = save_model(tmp_path / "model"), save_adapter(tmp_path / "a", rank=32)
    said = refusal(adapter, model)
    assert "has the rank 32, and the model is served with 16 at most" in said
    assert "options.max_lora_rank: 32 or more in the file" in said
    config = {"peft_type": "LORA", "r": 4, "rank_pattern": {"q_proj": 64}}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "has the rank 64" in refusal(adapter, model)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "is no adapter: it has no adapter_config.json"),
        ("{", "adapter_config.json is no JSON"),
        ("[]", "is no LoRA adapter: its peft_type is None"),
        ('{"peft_type": "PREFIX_TUNING"}', "is no LoRA adapter: its peft_type is 'PREFIX_TUNING'"),
    ],
)
def test_a_folder_that_is_none(tmp_path: Path, config: str | None, said: str) -> None:
    """A model's, another kind of adapter's, or half a copy's."""
    model, adapter = save_model(tmp_path / "model"), save_adapter(tmp_path / "a")
    (adapter / "adapter_config.json").unlink()
    if config is not None:
        (adapter / "adapter_config.json").write_text(config)
    assert said in refusal(adapter, model)


def test_weights_that_are_missing_or_cut(tmp_path: Path) -> None:
    """An engine would say less, or stop."""
    model, adapter = save_model(tmp_path / "model"), save_adapter(tmp_path / "a")
    weights = adapter / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert "is cut off: 10 bytes are missing" in refusal(adapter, model)
    weights.write_bytes(whole[:20])
    assert "is no safetensors file" in refusal(adapter, model)
    weights.unlink()
    assert "has no weights: no adapter_model.safetensors or adapter_model.bin" in refusal(adapter, model)
    (adapter / "adapter_model.bin").write_bytes(b"pickled")
    require_fit(adapter, model, ENGINE, 16)


def test_what_the_engine_can_not_take(tmp_path: Path) -> None:
    """It is asked with the modules that are changed, and those that there are."""
    seen: list[tuple[set[str], set[str]]] = []

    def refuse(changed: Collection[str], modules: Collection[str]) -> str | None:
        seen.append((set(changed), set(modules)))
        return "not this one"

    engine = Adapters(load="/load", unload="/unload", room="r", rank="r", refuse=refuse)
    said = refusal(save_adapter(tmp_path / "a", names=("q_proj",)), save_model(tmp_path / "model"), engine)
    assert "the engine can't load the adapter" in said
    assert "not this one" in said
    assert seen == [({"q_proj"}, {"q_proj", "v_proj"})]


def test_the_header_tells_types_and_shapes(tmp_path: Path) -> None:
    """As the safetensors package reads them."""
    file = tmp_path / "x.safetensors"
    save_tensors(file, {"a": (2, 3), "b": ()}, dtype="BF16")
    assert tensors_of(file) == {"a": Tensor("BF16", (2, 3)), "b": Tensor("BF16", ())}
