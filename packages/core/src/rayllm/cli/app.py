"""The commands and their names.

A command is a function in a module of its own, and one line in `COMMANDS`. Its module imports at the top what its
signature needs, and everything else inside the function: `rayllm --version` and `rayllm --help` import them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated, Any

import typer

from rayllm.cli import show_version
from rayllm.cli.adapters import adapters_add, adapters_list, adapters_remove
from rayllm.cli.chat import chat
from rayllm.cli.doctor import doctor
from rayllm.cli.down import down
from rayllm.cli.env import env_build, env_check, env_download, env_list, env_prune
from rayllm.cli.explain import explain
from rayllm.cli.init import init
from rayllm.cli.keys import keys_add, keys_list, keys_new, keys_revoke, keys_rotate, keys_usage
from rayllm.cli.logs import LogsCommand, logs
from rayllm.cli.new_plugin import plugins_new
from rayllm.cli.nodes import nodes_list, nodes_logs, nodes_scale
from rayllm.cli.plan import plan
from rayllm.cli.plugins import plugins, plugins_doctor
from rayllm.cli.pull import pull
from rayllm.cli.render import render
from rayllm.cli.scale import scale
from rayllm.cli.schema import schema
from rayllm.cli.status import status
from rayllm.cli.up import up
from rayllm.cli.validate import validate

COMMANDS: tuple[Callable[..., Any], ...] = (
    init,
    validate,
    plan,
    pull,
    up,
    status,
    logs,
    chat,
    scale,
    down,
    doctor,
    explain,
    schema,
    render,
)
"""In the order of `rayllm --help`; a function's name is its command's, its docstring the help."""
GROUPS = {
    "adapters": (adapters_add, adapters_list, adapters_remove),
    "keys": (keys_add, keys_list, keys_rotate, keys_revoke, keys_usage, keys_new),
    "nodes": (nodes_list, nodes_scale, nodes_logs),
    "env": (env_list, env_build, env_download, env_check, env_prune),
    "plugins": (plugins_new, plugins_doctor),
}
"""Nouns with verbs under them; a verb is a function `NOUN_VERB`."""
ALONE = {"plugins": plugins}
"""What a noun does without a verb; the others show their help."""
HELP_OF = {
    "adapters": "Add, list and remove LoRA adapters of models that run.",
    "keys": "Add, list, rotate and revoke API keys; see what was used.",
    "nodes": "List and scale the cluster's nodes; read what they wrote.",
    "env": "Look at, build and remove engines' environments.",
}
CLASSES = {logs: LogsCommand}
"""Commands that read their arguments in a way of their own."""


def _help(command: Callable[..., Any]) -> str:
    """The docstring, with the line breaks of its `Examples:` kept."""
    return cleandoc(command.__doc__ or "").replace("\nExamples:", "\n\b\nExamples:")


def _summary(command: Callable[..., Any]) -> str:
    """What a list of commands has room for: the first sentence up to its first pause."""
    first = " ".join(cleandoc(command.__doc__ or "").partition("\n\n")[0].split())
    return re.split(r"[;:.]", first)[0] + "."


def _version(wanted: bool) -> None:
    if wanted:
        show_version()
        raise typer.Exit


def rayllm(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve large language models with Ray Serve, on any cluster, with any engine.

    Examples:
      rayllm init        write an example rayllm.yaml
      rayllm up          make it so: a cluster, the models, an OpenAI endpoint
      rayllm status      see what runs
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app = typer.Typer(
    # Rich would double the start-up time, and its boxes break in logs.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    callback=rayllm,
    help=_help(rayllm),
)
for command in COMMANDS:
    app.command(help=_help(command), short_help=_summary(command), cls=CLASSES.get(command))(command)
for noun, verbs in GROUPS.items():
    alone = ALONE.get(noun)
    group = typer.Typer(
        rich_markup_mode=None,
        help=_help(alone) if alone else HELP_OF[noun],
        short_help=_summary(alone) if alone else None,
        callback=alone,
        invoke_without_command=alone is not None,
        no_args_is_help=alone is None,
    )
    for verb in verbs:
        name = verb.__name__.removeprefix(f"{noun}_")
        group.command(name, help=_help(verb), short_help=_summary(verb))(verb)
    app.add_typer(group, name=noun)
