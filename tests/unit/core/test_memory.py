"""Memory of a model: from its files' headers and config.json to what each part of a replica needs."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rayllm import InputError, MemorySettings, Shape
from rayllm.cluster.hardware import Gpu, Hardware, hardware_of
from rayllm.config.schema import Resources
from rayllm.memory.architecture import Architecture, architecture
from rayllm.memory.estimate import PartNeeds, part_needs
from rayllm.memory.fit import longest_at_once, room_of, tight, too_large
from rayllm.memory.heads import cannot_split
from rayllm.memory.model import Model, read_model
from rayllm.memory.safetensors import Weights, read_weights

GIB = 1 << 30
KIB = 1 << 10
LLAMA_70B = {
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 8192,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
"""Of Llama 3.1 70B."""
DEEPSEEK_V3 = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "max_position_embeddings": 163840,
    "quantization_config": {"quant_method": "fp8"},
}
GPT_OSS_20B = {
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "sliding_window": 128,
    "max_position_embeddings": 131072,
}
SMOLLM2_135M = {
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "max_position_embeddings": 8192,
}


@dataclass
class Files:
    """A model's files in memory."""

    content: Mapping[str, bytes]

    @property
    def sizes(self) -> Mapping[str, int]:
        """Of each."""
        return {name: len(content) for name, content in self.content.items()}

    def read(self, name: str, start: int, length: int) -> bytes:
        """A part of one."""
        return self.content[name][start : start + length]


def safetensors(tensors: Mapping[str, tuple[str, list[int], int]], padding: int = 0) -> bytes:
    """A file's beginning: the tensors' types, shapes and bytes; their content is not needed."""
    header, at = {"__metadata__": {"format": "pt" + " " * padding}}, 0
    told: dict[str, Any] = dict(header)
    for name, (dtype, shape, size) in tensors.items():
        told[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(told).encode()
    return struct.pack("<Q", len(text)) + text


def of(config: Mapping[str, Any]) -> Architecture:
    """What it tells, which is enough."""
    found = architecture(config)
    assert found
    return found


def needs(config: Mapping[str, Any], shape: Shape, weights: list[Weights] | None = None, **settings: Any) -> PartNeeds:
    """What each part needs."""
    return part_needs(Model(weights or [], of(config)), MemorySettings(**settings), shape)


def test_headers_of_safetensors() -> None:
    """Every shard, also one whose header is longer than what is read at first; summed by type, experts apart."""
    files = Files(
        {
            "a": safetensors({"x": ("BF16", [2, 3], 12), "e.experts.0.w": ("F8_E4M3", [4], 4)}),
            "b": safetensors({"y": ("BF16", [], 2), "z": ("I32", [5], 20)}, padding=200_000),
        }
    )
    assert read_weights(files, ["a", "b"]) == [
        Weights("BF16", 7, 14),
        Weights("F8_E4M3", 4, 4, expert=True),
        Weights("I32", 5, 20),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1",
        struct.pack("<Q", 5) + b"{",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": {}}',
        struct.pack("<Q", 59) + b'{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0]}}',
    ],
)
def test_what_is_no_header(content: bytes) -> None:
    """Told by the file's name."""
    with pytest.raises(InputError, match=r"m\.safetensors"):
        read_weights(Files({"m.safetensors": content}), ["m.safetensors"])


def test_a_folder() -> None:
    """The weights that an engine loads, not all there are."""
    config = json.dumps(SMOLLM2_135M).encode()
    files = {
        "config.json": config,
        "model.safetensors": safetensors({"x": ("BF16", [8], 16)}),
        "original/model.safetensors": safetensors({"x": ("BF16", [8], 16)}),
        "pytorch_model.bin": b"12",
    }
    assert read_model(Files(files)) == Model([Weights("BF16", 8, 16)], of(SMOLLM2_135M))
    assert read_model(Files({"config.json": config, "pytorch_model.bin": b"12"})).weights == [Weights("", 0, 2)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model.safetensors": b""}, "there is no config.json"),
        ({"model.safetensors": b"", "config.json": b"[]"}, "config.json is no JSON object"),
        ({"config.json": b"{}"}, "no weights"),
        ({"m.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1, 0)}, "the header of m.gguf can't be read"),
        ({"m.gguf": b"<html>"}, "it begins with b'<htm'"),
    ],
)
def test_files_that_tell_nothing(files: dict[str, bytes], said: str) -> None:
    """Said in words."""
    with pytest.raises(InputError, match=said):
        read_model(Files(files))


def test_a_gguf_file() -> None:
    """Its weights become bfloat16; its metadata are the config."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    numbers = {"block_count": 30, "attention.head_count": 9, "attention.head_count_kv": 3, "embedding_length": 576}
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    keys += [text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in numbers.items()]
    keys += [text("llama.context_length") + struct.pack("<IQ", 10, 8192)]
    tensor = text("w") + struct.pack("<IQQIQ", 2, 32, 4, 2, 0)
    content = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys) + tensor
    found = read_model(Files({"m.gguf": content}))
    assert found.weights == [Weights("BF16", 128, 256)]
    assert found.architecture == of({**SMOLLM2_135M, "dtype": "bfloat16"})


@pytest.mark.parametrize(
    ("config", "settings", "kib"),
    [
        (LLAMA_70B, {}, 320),  # 2 × 80 layers × 8 heads × 128 × 2 bytes
        (LLAMA_70B, {"kv_dtype": "fp8"}, 160),
        ({"text_config": LLAMA_70B, "vision_config": {"num_hidden_layers": 2}}, {"kv_dtype": "auto"}, 320),
        (
            DEEPSEEK_V3,
            {},
            61 * 576 * 2 / KIB,
        ),  # 70 KB, as DeepSeek-AI tells (https://arxiv.org/abs/2505.09343, table 1)
        (SMOLLM2_135M, {"dtype": "float32"}, 45),
        ({"model_type": "bert", **SMOLLM2_135M}, {}, 0),
    ],
)
def test_kv_cache_of_a_token(config: dict[str, Any], settings: dict[str, Any], kib: float) -> None:
    """By the formula that the engines use."""
    assert needs(config, Shape(), **settings).kv_per_token == kib * KIB


def test_kv_cache_as_a_real_engine_has_it() -> None:
    """SmolLM2-135M in float32, 1 GiB: vLLM 0.32 says 23,296 tokens on a CPU, in blocks of 128."""
    found = needs(SMOLLM2_135M, Shape(), dtype="float32", kv_cache=GIB)
    assert found.kv_cache
    assert found.kv_per_token
    assert found.kv_cache // found.kv_per_token // 128 * 128 == 23_296


@pytest.mark.parametrize(
    ("shape", "kib"),
    [
        (Shape(tensor=4), 80),
        (Shape(tensor=8), 40),
        (Shape(tensor=16), 40),
        (Shape(tensor=2, pipeline=2), 80),
        (Shape(pipeline=3), 27 * 4),
        (Shape(data=2), 320),
    ],
)
def test_kv_cache_of_a_part(shape: Shape, kib: int) -> None:
    """More parts than KV heads have one each; the stage with the most layers counts."""
    assert needs(LLAMA_70B, shape).kv_per_token == kib * KIB


def test_latent_attention_is_not_split() -> None:
    """Each part keeps the whole vector."""
    assert needs(DEEPSEEK_V3, Shape(tensor=8)).kv_per_token == 61 * 576 * 2


def test_sliding_windows() -> None:
    """Layers with a window keep no more than that."""
    found = needs(GPT_OSS_20B, Shape(), length=1000)
    each = 2 * 8 * 64 * 2
    assert (found.kv_per_token, found.kv_of_longest) == (12 * each, 12 * each * (1000 + 128))
    assert found.kv_formula == "12 layers × 2 × 8 KV heads × 64 × 2 bytes, 12 more layers keep 128 tokens"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"layer_types": ["linear_attention", "full_attention"]}, "what layers of linear_attention keep is not known"),
        ({"hybrid_override_pattern": "M-M*"}, "hybrid_override_pattern says that not all layers are attention"),
    ],
)
def test_layers_that_are_not_known(more: dict[str, Any], said: str) -> None:
    """Said, not guessed; the weights are known all the same."""
    found = needs({**LLAMA_70B, **more}, Shape(), [Weights("BF16", 8, 16)])
    assert (found.kv_per_token, found.kv_of_longest, found.kv_formula, found.weights) == (None, None, said, 16)
    assert architecture({"model_type": "other"}) is None


BF16, FP32 = Weights("BF16", 1000, 2000), Weights("F32", 1000, 4000)
FP8, EXPERTS = Weights("F8_E4M3", 1000, 1000), Weights("BF16", 4000, 8000, expert=True)


@pytest.mark.parametrize(
    ("weights", "shape", "settings", "size"),
    [
        ([BF16], Shape(), {}, 2000),
        ([BF16], Shape(), {"dtype": "float32"}, 4000),
        ([FP32], Shape(), {}, 2000),
        ([FP32], Shape(), {"dtype": "float32"}, 4000),
        ([FP8], Shape(), {"dtype": "float32"}, 1000),
        ([BF16], Shape(), {"weight_bytes": 1.0}, 1000),
        ([BF16], Shape(tensor=2, pipeline=2, data=4), {}, 500),
        ([BF16, EXPERTS], Shape(tensor=2, data=4), {}, 1000 + 4000),
        ([BF16, EXPERTS], Shape(tensor=2, data=4, expert=True), {}, 1000 + 1000),
    ],
)
def test_weights_of_a_part(weights: list[Weights], shape: Shape, settings: dict[str, Any], size: int) -> None:
    """In the type that is computed in; what is quantised stays so; copies share experts where those are spread."""
    assert needs(LLAMA_70B, shape, weights, **settings).weights == size


def test_a_quantised_model_is_not_quantised_again() -> None:
    """The option says what its files have already."""
    assert needs(DEEPSEEK_V3, Shape(), [BF16, FP8], weight_bytes=1.0).weights == 3000


@pytest.mark.parametrize(
    ("config", "shape", "said"),
    [
        (LLAMA_70B, Shape(tensor=8), ""),
        (LLAMA_70B, Shape(tensor=16), ""),
        (DEEPSEEK_V3, Shape(tensor=16), ""),
        (LLAMA_70B, Shape(pipeline=80), ""),
        (LLAMA_70B, Shape(pipeline=81), "its 80 layers can't be divided among 81 stages (pipeline parallel)"),
        (
            LLAMA_70B,
            Shape(tensor=6),
            (
                "its 64 attention heads and 8 KV heads can't be split into 6 equal parts (tensor parallel); "
                "sizes that work: 1, 2, 4, 8, 16, 32, 64"
            ),
        ),
        (
            SMOLLM2_135M,
            Shape(tensor=2),
            (
                "its 9 attention heads and 3 KV heads can't be split into 2 equal parts (tensor parallel); "
                "sizes that work: 1, 3, 9"
            ),
        ),
    ],
)
def test_heads_and_layers(config: dict[str, Any], shape: Shape, said: str) -> None:
    """With the numbers and the sizes that work."""
    assert cannot_split(of(config), shape, pads=False) == said
    if "heads" in said:
        assert not cannot_split(of(config), shape, pads=True)


L40S = Hardware(64 * GIB, (Gpu("NVIDIA L40S", 48 * GIB),) * 2)
H100 = Hardware(512 * GIB, (Gpu("NVIDIA H100", 80 * GIB),))


@pytest.mark.parametrize(
    ("resources", "shape", "nodes", "room"),
    [
        (Resources(gpus=1), Shape(), [L40S, H100], (72, 80, "0.9 of the 80.0 GiB of each NVIDIA H100")),
        (Resources(gpus=2), Shape(tensor=2), [L40S, H100], (43.2, 48, "0.9 of the 48.0 GiB of each NVIDIA L40S")),
        (Resources(gpus=4), Shape(tensor=4), [L40S, H100], None),
        (
            Resources(gpus=1, accelerator="L40S"),
            Shape(),
            [L40S, H100],
            (43.2, 48, "0.9 of the 48.0 GiB of each NVIDIA L40S"),
        ),
        (Resources(nodes=2), Shape(tensor=2), [L40S], (64, 64, "the memory of the largest node")),
        (Resources(), Shape(), [L40S, H100], (512, 512, "the memory of the largest node")),
        (Resources(), Shape(tensor=2), [L40S], (32, 32, "the memory of the largest node, 64.0 GiB for 2 parts")),
        (Resources(memory=8 * GIB), Shape(), [L40S], (8, 64, "resources.memory")),  # type: ignore[arg-type]
        (Resources(memory=96 * GIB), Shape(), [L40S], (64, 64, "the memory of the largest node")),  # type: ignore[arg-type]
        (Resources(memory=8 * GIB), Shape(), [], (8, 8, "resources.memory")),  # type: ignore[arg-type]
        (Resources(), Shape(), [], None),
    ],
)
def test_room(resources: Resources, shape: Shape, nodes: list[Hardware], room: tuple[float, float, str] | None) -> None:
    """Of the best node that has what is asked for; not known where none has reported it."""
    found = room_of(resources, shape, MemorySettings(share=0.9), nodes)
    if room is None:
        assert found is None
    else:
        assert found
        assert (found.size, found.most, found.source) == (int(room[0] * GIB), int(room[1] * GIB), room[2])


def test_what_fits_and_what_does_not() -> None:
    """The same model with longer and longer requests on one kind of GPU, then with weights that are too large."""
    room = room_of(Resources(gpus=1), Shape(), MemorySettings(share=0.9), [L40S])
    assert room
    weights = [Weights("BF16", 15 * GIB, 30 * GIB)]

    def asked(**settings: Any) -> PartNeeds:
        return needs(LLAMA_70B, Shape(), weights, overhead=2 * GIB, **settings)

    short = asked(length=8192)
    assert (short.kv_of_longest, short.total) == (5 * GIB // 2, 69 * GIB // 2)
    assert (tight(short, room), too_large(short, room), longest_at_once(short, room)) == ("", "", 4.5)
    assert tight(asked(length=65536), room) == (
        "each part needs 52.0 GiB, and has 43.2 GiB: 36700 tokens would fit, or more parts (GPUs), quantised weights, "
        "or larger nodes would help"
    )
    assert tight(asked(length=8192, kv_cache=GIB), room) == (
        "one request of 8192 tokens takes 2.5 GiB of KV cache, more than its 1.0 GiB: 3276 tokens would fit, or "
        "a larger KV cache"
    )
    assert tight(asked(length=8192, kv_cache=20 * GIB), room).startswith(
        "each part needs 52.0 GiB, and has 43.2 GiB: a smaller KV cache, more parts"
    )
    assert tight(asked(length=1), None) == ""
    huge = needs(LLAMA_70B, Shape(), [Weights("BF16", 35 * GIB, 70 * GIB)], length=1)
    assert too_large(huge, room) == "the weights of each part need 70.0 GiB, and the largest there is has 48.0 GiB"


def test_a_kv_cache_in_tokens() -> None:
    """As SGLang is told."""
    assert needs(LLAMA_70B, Shape(), kv_tokens=1024).kv_cache == 320 << 20


def test_what_rays_dashboard_reports() -> None:
    """Bytes of main memory, MiB of GPUs; a node whose agent has not reported yet is left out."""
    gpu = {"index": 0, "name": "NVIDIA L40S", "memoryTotal": 46068, "memoryUsed": 1}
    node = {"raylet": {"nodeId": "n1"}, "mem": [64 * GIB, 60 * GIB, 6.2, 4 * GIB], "gpus": [gpu]}
    assert hardware_of(node) == ("n1", Hardware(64 * GIB, (Gpu("NVIDIA L40S", 46068 << 20),)))
    assert hardware_of({"raylet": {"nodeId": "n1"}}) is None
    assert hardware_of({"mem": [1, 1, 1, 1]}) is None
