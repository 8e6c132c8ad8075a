"""Write `docs/reference/` anew from the code: `python -m docs.generate`, or `nox -s docs`; with `--check`, compare.

A plugin's page is written where that plugin is installed. What a page needs stands in the code alone: a command's
docstring and options, a field's docstring, type, default and bounds.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from docs.kit_page import kit_page
from docs.page_parts import NOTE, capabilities_page, first_paragraph, joined, table
from pydantic import ByteSize, TypeAdapter

from rayllm import events, hookspecs
from rayllm.config.json_schema import block_schema
from rayllm.config.schema import DeploymentConfig
from rayllm.config.wording import PATTERNS
from rayllm.engines import Options
from rayllm.events import Event
from rayllm.plugins import PluginInfo, Plugins

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference"
PRINTS = {
    "validate": "rayllm.config.problems:Verdict",
    "plan": "rayllm.deployment.plan:Plan",
    "up": "rayllm.deployment.status:Status",
    "status": "rayllm.deployment.status:Status",
    "plugins": "rayllm.plugin_info:PluginInfo",
    "plugins doctor": "rayllm.machine.plugin_report:PluginReport",
    "plugins new": "rayllm.scaffold:NewPlugin",
    "doctor": "rayllm.checks:Check",
    "keys add": "rayllm.deployment.keys:NewKey",
    "keys list": "rayllm.deployment.keys:ApiKey",
    "keys rotate": "rayllm.deployment.keys:NewKey",
    "keys revoke": "rayllm.deployment.keys:ApiKey",
    "keys usage": "rayllm.deployment.keys:KeyUsage",
    "pull": "rayllm.deployment.preparing:Prepared",
    "adapters add": "rayllm.deployment.adapters:Adapter",
    "adapters list": "rayllm.deployment.adapters:Adapter",
    "adapters remove": "rayllm.deployment.adapters:Adapter",
    "nodes list": "rayllm.deployment.status:NodeStatus",
    "nodes scale": "rayllm.deployment.status:NodeStatus",
    "env list": "rayllm.machine.environments:BuiltEnvironment",
    "env check": "rayllm.machine.environments:EnvironmentCheck",
}
"""What each command prints with `--json`: one such object, or a list of them where `LISTS` names the command."""
LISTS = {
    "plugins",
    "pull",
    "doctor",
    "env list",
    "env check",
    "adapters list",
    "keys list",
    "keys usage",
    "nodes list",
    "nodes scale",
}
FOREIGN = {"render": "Ray's own: [a Serve config](https://docs.ray.io/en/latest/serve/production-guide/config.html)"}
"""What is printed that others have defined."""
TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
    "null": "nothing",
}
IN_JSON = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    type(None): "null",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "maxLength": "of at most {} characters",
    "minItems": "at least {}",
    "minProperties": "at least {}",
}
Json = dict[str, Any]


def pages(plugins: Plugins) -> dict[Path, str]:
    """Every page that can be written here, by its path."""
    found = {REFERENCE / "commands.md": commands_page(), REFERENCE / "configuration.md": configuration_page(plugins)}
    found |= {REFERENCE / "hooks.md": hooks_page(), REFERENCE / "kit.md": kit_page()}
    for info in plugins.infos:
        if info.state == "loaded" and info.distribution != "rayllm-core" and (ROOT / "packages" / info.name).is_dir():
            lines = [f"# Options of `{info.name}`", NOTE, *options_of(plugins, info)]
            found[REFERENCE / f"{info.name}.md"] = joined(lines)
    ours = sorted(path.name.removeprefix("engine-") for path in (ROOT / "packages").glob("engine-*"))
    if set(ours) <= set(plugins.engines):
        found[REFERENCE / "engines.md"] = capabilities_page([plugins.engines[name] for name in ours])
    return found


# The command line


def commands_page() -> str:
    """Every command with its options, examples and JSON."""
    group: Any = typer.main.get_command(import_module("rayllm.cli.app").app)
    commands = dict(walk(group, ()))
    links = [f"[`rayllm {name}`](#rayllm-{name.replace(' ', '-')})" for name in commands]
    listed = zip(links, map(summary, commands.values()), strict=True)
    about = (
        "Every command, its options and its JSON. What the commands are for, their output and exit statuses are on "
        "[the page about commands](../cli.md)."
    )
    blocks = ["# Reference of the commands", NOTE, about, table(("command", "what it does"), *listed)]
    blocks += ["## `rayllm`", *described(group, examples=False)]
    kinds: dict[str, type] = {}
    for name, command in commands.items():
        blocks += [f"## `rayllm {name}`", *described(command)]
        if name in FOREIGN:
            blocks.append(f"What is printed is {FOREIGN[name]}.")
        elif any("--json" in option.opts for option in command.params):
            if name not in PRINTS:
                raise SystemExit(f"docs/generate.py: PRINTS does not say what `rayllm {name} --json` prints")
            kind = load(PRINTS[name])
            kinds |= {found.__name__: found for found in related(kind)}
            prints = "a list of objects" if name in LISTS else "an object"
            blocks.append(f"`--json` prints {prints}: [`{kind.__name__}`](#{kind.__name__.lower()}).")
    blocks += ["## The objects of `--json`", "Later versions may add fields."]
    for name in sorted(kinds):
        blocks += [f"### `{name}`", first_paragraph(kinds[name]), fields_table(kinds[name], inherited=True)]
    return joined(blocks)


def walk(group: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The commands below a group, by their whole name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield " ".join((*above, name)), command
            yield from walk(command, (*above, name))
        elif not command.hidden:
            yield " ".join((*above, name)), command


def summary(command: Any) -> str:
    """The first sentence of the help."""
    return inspect.cleandoc(command.help).partition("\n\n")[0].replace("\n", " ")


def described(command: Any, *, examples: bool = True) -> Iterator[str]:
    """Help, arguments, options and examples of one command."""
    text, _, lines = inspect.cleandoc(command.help).replace("\b\n", "").partition("Examples:\n")
    yield text
    arguments = [param for param in command.params if param.param_type_name == "argument" and not param.hidden]
    if arguments:
        rows = [(f"`{(param.metavar or param.name).upper()}`", param.help or "") for param in arguments]
        yield table(("argument", "meaning"), *rows)
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    if options:
        yield table(("option", "default", "meaning"), *(option_row(param) for param in options))
    if examples and lines:
        yield "```console\n" + "\n".join(f"$ {line}" for line in textwrap.dedent(lines).strip().splitlines()) + "\n```"


def option_row(param: Any) -> tuple[str, str, str]:
    """Spellings, default and meaning of one option."""
    value = "" if param.is_flag else f" {param.metavar or param.name.upper()}"
    spelled = ", ".join(f"`{name}{value}`" for name in [*param.opts, *param.secondary_opts])
    default = "" if param.is_flag or param.default is None else f"`{param.default}`"
    return spelled, default, param.help or ""


# Hooks


def hooks_page() -> str:
    """Every hook as `rayllm.hookspecs` tells it, and every event."""
    about = (
        "Every hook: its signature, when it is called, how results combine, and a whole module that implements it. "
        "[The page for plugin authors](../plugins.md) has the descriptors, and tells how a plugin is made."
    )
    blocks = ["# Reference of the hooks", NOTE, about]
    for name, hook in ((name, hook) for name, hook in vars(hookspecs).items() if name.startswith("rayllm_")):
        signature = str(inspect.signature(hook)).replace("'", "")
        blocks += [f"## `{name}`", f"```python\n{name}{signature}\n```", inspect.cleandoc(hook.__doc__ or "")]
    blocks += ["## The events", first_paragraph(Event), fields_table(Event)]
    blocks += [f"`to_json()` of each: {first_paragraph(Event.to_json)}"]
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    for kind in kinds[kinds.index(Event) + 1 :]:
        blocks += [f"### `{kind.__name__}`", first_paragraph(kind), fields_table(kind)]
    return joined(blocks)


# Dataclasses


def load(name: str) -> type:
    """The class that `module:Class` names."""
    module, _, attribute = name.partition(":")
    found: type = getattr(import_module(module), attribute)
    return found


def related(kind: type) -> Iterator[type]:
    """A dataclass and those that its fields hold."""
    yield kind
    module = vars(sys.modules[kind.__module__])
    for field in dataclasses.fields(kind):
        for word in re.findall(r"\w+", str(field.type)):
            found = module.get(word)
            if isinstance(found, type) and dataclasses.is_dataclass(found) and found is not kind:
                yield from related(found)


def fields_table(kind: type, *, inherited: bool = False) -> str:
    """Each field of its own, with its type as it looks in JSON and its docstring; nothing if there are none.

    With `inherited`, those of the dataclasses that it extends come first.
    """
    above = [base for base in reversed(kind.__mro__[1:]) if inherited and dataclasses.is_dataclass(base)]
    told = {name: text for one in (*above, kind) for name, text in field_docstrings(one).items()}
    hints = get_type_hints(kind)
    rows = [(f"`{name}`", in_json(hints[name]), text) for name, text in told.items()]
    return table(("field", "type", "meaning"), *rows) if rows else ""


def in_json(hint: Any) -> str:
    """A type as it looks in JSON."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(in_json(one) for one in arguments)
    if origin in {list, tuple, Sequence}:
        return f"list of {in_json(arguments[0])}"
    if origin in {dict, Mapping}:
        return f"object of {in_json(arguments[1])}" if arguments[1] is not Any else "object"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[`{hint.__name__}`](#{hint.__name__.lower()})"
    return IN_JSON[hint]


def field_docstrings(kind: type) -> dict[str, str]:
    """The text under each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    told: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(statements):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            told[field.target.id] = " ".join(inspect.cleandoc(ast.literal_eval(text.value)).split())
    missing = [name for name in inspect.get_annotations(kind) if name not in told]
    if missing:
        raise SystemExit(f"{kind.__module__}.{kind.__name__}: no docstring under {', '.join(missing)}")
    return told


# The file


def configuration_page(plugins: Plugins) -> str:
    """Every key of a file that is core's."""
    about = (
        "Every key of a file. How the file is read, and what a mistake looks like, is on [the page about the "
        "configuration file](../configuration.md). `rayllm schema` prints the same as JSON Schema, for editors."
    )
    blocks = ["# Reference of the configuration file", NOTE, about]
    blocks += model_blocks(block_schema(DeploymentConfig), "The file")
    core = next(info for info in plugins.infos if info.distribution == "rayllm-core")
    projects = sorted((ROOT / "packages").glob("*/pyproject.toml"))
    plugged = [file.parent.name for file in projects if "[project.entry-points.rayllm]" in file.read_text()]
    others = [name for name in plugged if name != "core"]
    blocks += options_of(plugins, core)
    links = "\n".join(f"- [`{name}`]({name}.md)" for name in others)
    return joined([*blocks, "## Options of other plugins", links])


def options_of(plugins: Plugins, info: PluginInfo) -> Iterator[str]:
    """The options of what one plugin offers."""
    for offer in info.offers:
        kind, _, name = offer.partition(" ")
        if kind in {"engine", "backend"}:
            options: type[Options] = (plugins.engines if kind == "engine" else plugins.backends)[name].options
            place = "models.NAME.options" if kind == "engine" else "cluster.options"
            yield from model_blocks(block_schema(options), f"`{place}` with `{kind}: {name}`", place)


def model_blocks(schema: Json, title: str, place: str = "") -> Iterator[str]:
    """A table of keys, then one for each mapping within."""
    defs = schema.get("$defs", {})
    yield f"## {title}"
    yield from block(schema, defs, place)
    waiting = list(inner(schema, defs, place))
    while waiting:
        where, found = waiting.pop(0)
        yield f"## `{where}`"
        yield from block(found, defs, where)
        waiting = [*inner(found, defs, where), *waiting]


def block(schema: Json, defs: Json, place: str) -> Iterator[str]:
    """What the mapping is, and its keys."""
    yield schema.get("description", "")
    required = schema.get("required", ())
    rows = []
    for key, node in schema.get("properties", {}).items():
        target = defs.get(str(node.get("$ref", "")).rpartition("/")[2], {})
        told = node.get("description") or target.get("description", "")
        if not told:
            raise SystemExit(f"{place}.{key}: no docstring under the field")
        default = "required" if key in required else shown_default(node)
        examples = ", ".join(f"`{shown(example)}`" for example in node.get("examples", ()))
        told = " ".join(told.split()) + (f" Example: {examples}." if examples else "")
        rows.append((f"`{key}`", wording(node), default, told))
    yield table(("key", "type", "default", "meaning"), *rows)


def shown(value: Any) -> str:
    """A value as it is written in a file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shown_default(node: Json) -> str:
    """The value of a key that is left out."""
    if "default" not in node:
        return "`{}`"
    return "" if node["default"] is None else f"`{shown(node['default'])}`"


def number(value: float) -> float:
    """A bound as it is written in the code: some versions of pydantic give `0` of a float as `0.0`."""
    return int(value) if value == int(value) else value


def wording(node: Json) -> str:
    """A type in a person's words, with its bounds."""
    if node.get("anyOf") == TypeAdapter(ByteSize).json_schema()["anyOf"]:
        return "size, or a number of bytes"
    if "anyOf" in node:
        kinds = [wording(one) for one in node["anyOf"] if one.get("type") != "null"]
        return ", or ".join(dict.fromkeys(kinds))
    if "enum" in node:
        return ", ".join(f"`{shown(value)}`" for value in node["enum"])
    kind = TYPES.get(node.get("type", "object"), "anything")
    if kind == "list" and node.get("items"):
        kind = f"list of {wording(node['items'])}"
    bounds = [text.format(number(node[word])) for word, text in BOUNDS.items() if word in node]
    if node.get("minLength"):
        bounds.append("not empty")
    if "pattern" in node:
        bounds.append(PATTERNS.get(node["pattern"], f"`{node['pattern']}`"))
    return ", ".join([kind, *bounds])


def inner(schema: Json, defs: Json, place: str) -> Iterator[tuple[str, Json]]:
    """The mappings under a mapping's keys, with their places."""
    for key, node in schema.get("properties", {}).items():
        where = f"{place}.{key}" if place else key
        yield from referred(node, defs, where)
        for child in [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]:
            if isinstance(child, dict):
                yield from referred(child, defs, f"{where}[]" if child is node.get("items") else f"{where}.NAME")


def referred(node: Json, defs: Json, where: str) -> Iterator[tuple[str, Json]]:
    """The mappings that stand at one place."""
    for one in [node, *node.get("anyOf", [])]:
        target = defs.get(str(one.get("$ref", "")).rpartition("/")[2])
        if target and "properties" in target:
            yield where, target


def main() -> None:
    """Write the pages, or with `--check` tell which are not as the code says."""
    check = sys.argv[1:] == ["--check"]
    stale = {path: page for path, page in pages(Plugins.discover(disabled="")).items() if page != current(path)}
    if check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise SystemExit(f"{names}: not what the code says; run: nox -s docs (or python -m docs.generate)")
    for path, page in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def current(path: Path) -> str:
    """What the page says now."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    main()
