"""`docs/reference/commands.md`: every command, by its docstring and its options, and what it prints with `--json`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer
from docs.class_tables import fields_table, related
from docs.page_parts import NOTE, first_paragraph, joined, table

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
                raise SystemExit(f"docs/commands_page.py: PRINTS does not say what `rayllm {name} --json` prints")
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


def load(name: str) -> type:
    """The class that `module:Class` names."""
    module, _, attribute = name.partition(":")
    found: type = getattr(import_module(module), attribute)
    return found
