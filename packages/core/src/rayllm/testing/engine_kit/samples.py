"""Launches and options to try an engine's `commands` with. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticUserError

from rayllm.engines import AnyEngine, Command, Device, Launch, Options
from rayllm.errors import RayllmError

MADE_UP = "/made-up-by-the-conformance-kit"
"""No such folder is on any machine."""
HOST = "127.0.0.77"
PORT = 23457
MODEL_NAME = "conformance-model"
CANARY = "canary-5f1c-never-to-be-shown"
"""What a secret holds."""
_CPU = Device(kind="cpu", features=frozenset({"avx2"}))
_SECRET = re.compile(
    r"(^|_)(api_?key|password|passwd|secret|credentials?|(auth|access|hf|hub|bearer)_token)(_|$)|^token$"
)
_VALUES: tuple[Any, ...] = (True, False, 1, 2, 3, 8, 0.5, 64, "sample", "a/sample", ["sample"], [1], {"sample": "a"})


def able_here(engine: AnyEngine) -> frozenset[str]:
    """What it declares for the device that the kit starts it on: the CPU, unless it runs on GPUs alone."""
    return engine.can("cpu" if "cpu" in engine.devices else "cuda")


def launches(engine: AnyEngine, options: Options) -> list[Launch[Any]]:
    """As a replica could ask for it: on each device, with little and with more reserved."""
    made = []
    for kind in engine.devices:
        device, gpus = (_CPU, 0) if kind == "cpu" else (Device(kind=kind), 1)
        for cpus, memory in ((1, None), (4, 8 << 30)):
            made.append(
                Launch(
                    python=f"{MADE_UP}/bin/python",
                    model_path=f"{MADE_UP}/model",
                    model_name=MODEL_NAME,
                    options=options,
                    host=HOST,
                    port=PORT,
                    device=device,
                    gpus=gpus,
                    cpus=cpus,
                    memory=memory,
                )
            )
    return made


def on_two_nodes(engine: AnyEngine, block: Mapping[str, Any]) -> list[Launch[Any]]:
    """As `launches`, of a replica that spans two nodes."""
    addresses = ("198.51.100.1", "198.51.100.2")
    return [
        replace(launch, nodes=2, addresses=addresses, rendezvous_port=23480, interface="eth7")
        for launch in launches(engine, read(engine.options, block))
    ]


def words_of(engine: AnyEngine, launch: Launch[Any]) -> list[list[str]]:
    """What each of its commands tells; none where it refuses the launch."""
    try:
        return [words(command) for command in engine.commands(launch)]
    except RayllmError:
        return []


def read(options: type[Options], block: Mapping[str, Any]) -> Options:
    """A block as a replica reads it.

    Raises:
        ValidationError: it is none.
    """
    return options.model_validate_json(json.dumps(block))


def said(engine: AnyEngine, block: Mapping[str, Any]) -> list[Any]:
    """What `commands` makes of a block, launch by launch; None for a launch that breaks it.

    What is made up here need not make sense to the engine.
    """
    try:
        options = read(engine.options, block)
    except ValidationError:
        return []
    return [_said(engine, launch) for launch in launches(engine, options)]


def _said(engine: AnyEngine, launch: Launch[Any]) -> Any:
    try:
        return [words(command) for command in engine.commands(launch)]
    except RayllmError as refusal:
        return refusal.message
    except Exception:  # noqa: BLE001
        return None


def words(command: Command) -> list[str]:
    """All that a command tells: its arguments, its variables, its paths."""
    env = [f"{name}={value}" for name, value in command.env.items()]
    return [*map(str, command.argv), *env, command.ready, str(command.metrics)]


def names(options: type[Options]) -> list[str]:
    """The options, as a person writes them."""
    return [field.alias or name for name, field in options.model_fields.items()]


def schema(options: type[Options]) -> dict[str, Any]:
    """Its JSON schema; empty where there is none."""
    try:
        return options.model_json_schema()
    except PydanticUserError:
        return {}


def secrets(options: type[Options]) -> list[str]:
    """Those that hold a secret: by their type, or a text by its name."""
    shapes = schema(options).get("properties", {})
    return [name for name, shape in shapes.items() if "password" in _find(shape, "format") or _is_secret(name, shape)]


def variants(engine: AnyEngine, given: list[dict[str, Any]], name: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Blocks that set an option, each with the same block without it, or None where that is not valid.

    The author's own samples come first; those made up follow from the option's type.
    """
    for block in given:
        if name in block:
            yield block, {key: value for key, value in block.items() if key != name}
    shapes = schema(engine.options)
    base = {key: value for key, value in given[0].items() if key != name}
    told = [value for word in ("enum", "const", "minimum", "exclusiveMinimum") for value in _find(shapes, word)]
    for value in (*_VALUES, *told, *(value + 1 for value in told if isinstance(value, int))):
        try:
            read(engine.options, {**base, name: value})
        except ValidationError:
            continue
        yield {**base, name: value}, base


def _is_secret(name: str, shape: dict[str, Any]) -> bool:
    return bool(_SECRET.search(name.lower())) and "string" in _find(shape, "type")


def _find(shape: Any, word: str) -> list[Any]:
    """Every value of a keyword in a JSON schema."""
    if isinstance(shape, list):
        return [value for item in shape for value in _find(item, word)]
    if not isinstance(shape, dict):
        return []
    here = shape.get(word, [])
    return [*(here if isinstance(here, list) else [here]), *_find(list(shape.values()), word)]
