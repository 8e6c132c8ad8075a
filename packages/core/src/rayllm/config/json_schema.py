"""The file's JSON Schema, with the options of every installed plugin: what editors complete and check a file by.

It says what types can say. What follows from two values (`min` above `max`), from a plugin's own validators or from the
nodes, `rayllm validate` and `rayllm up` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from rayllm.config.rules import RESERVED
from rayllm.config.schema import ClusterConfig, DeploymentConfig
from rayllm.plugins import Plugins

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE: Json = {
    "type": "string",
    "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}",
    "description": "The value of an environment variable, always as text.",
}
_NARROW = frozenset({"pattern", "minLength", "maxLength", "enum", "const", "format"})
"""Keywords by which a text with a variable in it may fail, though the variable's value would pass."""


def json_schema(plugins: Plugins) -> Json:
    """JSON Schema (2020-12) of a whole file, for the plugins that are installed."""
    whole = block_schema(DeploymentConfig)
    defs: Json = whole.setdefault("$defs", {})
    for key, node in whole["properties"].items():
        if key != "models":  # there, `${env:…}` is refused
            _allow_variables(node, defs, set())
    defs["variable"] = VARIABLE
    for name, found in _choose(defs["ClusterConfig"], "backend", plugins.backends, ClusterConfig().backend).items():
        defs[name] = found
        _allow_variables(found, defs, set())
    defs["ClusterConfig"]["properties"]["backend"]["anyOf"].append({"$ref": "#/$defs/variable"})
    model = defs["ModelConfig"]
    defs |= _choose(model, "engine", plugins.engines, None)
    schemes = "".join(f"{scheme}:|" for scheme in sorted(plugins.sources))
    model["properties"]["source"]["pattern"] = f"^({schemes}/|~)"
    model["properties"]["environment"]["anyOf"] = [{"enum": ["auto", "current"]}, {"pattern": "^/"}]
    names = whole["properties"]["models"]
    names["additionalProperties"] = False
    names["propertyNames"] = {**names.get("propertyNames", {}), "not": {"enum": sorted(RESERVED)}}
    about = "A deployment of RayLLM, with the options of the plugins that are installed here."
    return {"$schema": DIALECT, **whole, "description": about}


def block_schema(model: type[BaseModel], prefix: str = "") -> Json:
    """One model's own schema, without pydantic's titles; `prefix` goes before the names of its definitions."""
    schema: Json = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    if "$defs" in schema:
        schema["$defs"] = {prefix + name: found for name, found in schema["$defs"].items()}
    _tidy(schema)
    return schema


def _tidy(node: Any) -> None:
    """Drop titles (a field's name once more), and say a bound of pydantic's own in JSON Schema's word."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if isinstance(node.get("gt"), int | float):
            node["exclusiveMinimum"] = node.pop("gt")
    for child in _children(node):
        _tidy(child)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _choose(block: Json, key: str, installed: Mapping[str, Any], default: str | None) -> Json:
    """Make `key` take the name of an installed plugin, and `options` what that plugin takes; its definitions."""
    defs: Json = {}
    block["properties"][key]["anyOf"] = [
        {"const": name, "description": installed[name].summary} for name in sorted(installed)
    ]
    block["allOf"] = []
    for name in sorted(installed):
        defs |= (found := _options(f"{key}-{name}", installed[name].options))
        chosen: Json = {"properties": {key: {"const": name}}}
        if name != default:  # without `required`, a block that leaves `key` out is meant too
            chosen["required"] = [key]
        needs = {"required": ["options"]} if found[f"{key}-{name}"].get("required") else {}
        then = {"properties": {"options": {"$ref": f"#/$defs/{key}-{name}"}}, **needs}
        block["allOf"].append({"if": chosen, "then": then})
    return defs


def _options(name: str, model: type[BaseModel]) -> Json:
    """Definitions of a plugin's options; anything goes where its types can't be said in JSON Schema."""
    try:
        schema = block_schema(model, f"{name}-")
    # A plugin's fault costs the completion of its own block alone.
    except Exception:  # noqa: BLE001
        return {name: {"type": "object"}}
    return {name: {key: value for key, value in schema.items() if key != "$defs"}, **schema.get("$defs", {})}


def _allow_variables(node: Any, defs: Json, seen: set[str]) -> None:
    """Let `${env:NAME}` stand wherever a text stands, at any depth of `node`."""
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name in defs and name not in seen:
            seen.add(name)
            _allow_variables(defs[name], defs, seen)
        choices = [value for value in [node.get("const"), *node.get("enum", [])] if isinstance(value, str)]
        if _NARROW & node.keys() and (node.get("type") == "string" or choices):
            narrow = {word: node.pop(word) for word in ("type", *sorted(_NARROW)) if word in node}
            node["anyOf"] = [narrow, {"$ref": "#/$defs/variable"}]
            return
    for child in list(_children(node)):
        _allow_variables(child, defs, seen)
