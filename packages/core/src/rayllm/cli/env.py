"""`rayllm env`: the engines' Python environments on this machine, and on a cluster's nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rayllm.cli.completion import complete_engine, complete_environment
from rayllm.cli.env_nodes import NodesOption, build_on_nodes, node_names, on_nodes
from rayllm.cli.options import JsonOption, YesOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rayllm.deployment.node_environments import NodeCheck
    from rayllm.machine.environments import BuiltEnvironment, EnvironmentCheck

    Named = TypeVar("Named", BuiltEnvironment, NodeCheck)

_DeviceOption = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", help="What it computes on; by default what is here.")
]
_VersionOption = Annotated[
    str, typer.Option("--version", metavar="VERSION", help="Of the engine; by default its plugin's.")
]
_MakesOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of a model, where it needs packages of its own; repeatable."),
]


def env_list(file: NodesOption = None, json: JsonOption = False) -> None:
    """List the environments on this machine, or on a cluster's nodes: state, size, who asks for them, what uses them.

    Examples:
      rayllm env list
      rayllm env list -f prod.yaml
      rayllm env list --json
    """
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.machine.environments import environments, folder
    from rayllm.serving.prepare.room import in_words

    output = Output()
    there = on_nodes(file, output)[0] if file else []
    found: Sequence[BuiltEnvironment] = there if file else environments(discover(output))
    if json:
        output.print_json([asdict(one) for one in found])
    elif not found:
        where = "on the cluster's nodes" if file else f"in {folder()}"
        how = f"rayllm pull -f {file}" if file else "rayllm env build ENGINE"
        output.say(f"There are none {where}. The first start of a model builds one, or: {how}")
    else:
        head: tuple[str, ...] = ("NAME", "STATE", "PYTHON", "PACKAGES", "SIZE", "BUILT", "USE")
        rows: list[tuple[str, ...]] = [
            (one.name, one.state, one.python or "-", str(one.packages), in_words(one.size), one.built or "-", _use(one))
            for one in found
        ]
        if file:
            head, rows = ("NODE", *head), [(node, *row) for node, row in zip(node_names(there), rows, strict=True)]
        output.table(head, rows)


def env_build(
    engine: Annotated[str, typer.Argument(help="An installed engine.", autocompletion=complete_engine)] = "",
    device: _DeviceOption = "",
    version: _VersionOption = "",
    option: _MakesOption = None,
    file: NodesOption = None,
) -> None:
    """Build an engine's environment, as a replica on this machine would; one that is whole stays as it is.

    A replica on this machine then starts without the wait. What is damaged is built anew. Ctrl-C leaves nothing that
    the next build does not clear. With a file instead of an engine, what its models need is built on the nodes of its
    cluster, as `rayllm pull` does, without the weights.

    Examples:
      rayllm env build vllm
      rayllm env build vllm --device cuda
      rayllm env build vllm --version 0.31
      rayllm env build vllm --option load_format=runai_streamer
      rayllm env build -f prod.yaml
    """
    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.errors import InputError
    from rayllm.machine.building import build

    if bool(engine) == bool(file) or (file and (device or version or option)):
        raise InputError(
            "either an engine, or a file alone, which names engines, versions and devices by its models",
            cure="rayllm env build vllm, or: rayllm env build -f rayllm.yaml",
        )
    if file:
        build_on_nodes(file)
        return
    output = Output()
    plugins = discover(output)
    with Steps() as steps:
        tell = lambda detail: steps("environment", detail)  # noqa: E731
        built = build(plugins, engine, device, tell, version or None, options=option or ())
        steps("environment", "ready", done=True)
    output.say(built)


def env_download(
    engine: Annotated[str, typer.Argument(help="An installed engine.", autocompletion=complete_engine)],
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where the wheels go; made when missing.")],
    device: _DeviceOption = "",
    version: _VersionOption = "",
    option: _MakesOption = None,
) -> None:
    """Fetch an engine's packages as wheels, for nodes without an index.

    It is every package of its environment, for this kind of machine and for the Python that runs this command. Bring
    the folder to the nodes, and name it in the file: `packages: {find_links: [/the/folder], offline: true}`.

    Examples:
      rayllm env download vllm --device cuda --into wheels
    """
    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.machine.downloading import download
    from rayllm.serving.prepare.room import in_words

    output = Output()
    plugins = discover(output)
    with Steps() as steps:
        tell = lambda detail: steps("wheels", detail)  # noqa: E731
        found = download(plugins, engine, device, into, tell, version=version or None, options=option or ())
        size = in_words(sum(file.stat().st_size for file in found))
        steps("wheels", f"{len(found)} in {into}, {size}", done=True)
    output.say(str(into.absolute()))


def env_check(
    name: Annotated[
        str, typer.Argument(help="One environment; all if left out.", autocompletion=complete_environment)
    ] = "",
    file: NodesOption = None,
    json: JsonOption = False,
) -> None:
    """Look closely at environments: do they run, are all files there, can the engine be imported.

    The exit status is 1 if one is damaged.

    Examples:
      rayllm env check
      rayllm env check vllm-cpu-0123456789ab --json
      rayllm env check -f prod.yaml
    """
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.machine.environments import check, environments

    output = Output()
    if file:
        there = _named(on_nodes(file, output, closely=True)[1], name)
        checks: Sequence[EnvironmentCheck] = there
        where = [f"{node}  " for node in node_names(there)]
    else:
        plugins = discover(output)
        checks = [check(one, plugins) for one in _named(environments(plugins), name)]
        where = [""] * len(checks)
    if json:
        output.print_json([asdict(one) for one in checks])
    for one, node in zip(checks, where, strict=True) if not json else ():
        whole = one.state == "whole"
        output.say(f"{'✔' if whole else '✘'} {node}{one.name}  {one.state}", "good" if whole else "bad")
        if not whole:
            output.say("  cause  " + one.cause.replace("\n", "\n         "))
            output.say(f"  do     {one.cure}")
    if any(one.state != "whole" for one in checks):
        raise typer.Exit(1)


def env_prune(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are whole and asked for.")] = False,
    yes: YesOption = False,
) -> None:
    """Remove environments that nobody needs: the unfinished, the broken, those that no installed engine asks for.

    What is being built or used stays. Another machine's plugins may ask for other environments than this one's: on a
    node that serves, look at `rayllm env list` first. What is missing later is built again.

    Examples:
      rayllm env prune
      rayllm env prune --all --yes
    """
    from rayllm.cli.discovery import discover
    from rayllm.cli.opening import confirmed
    from rayllm.cli.output import Output
    from rayllm.machine.environments import environments, removable, remove
    from rayllm.serving.prepare.room import in_words

    output = Output()
    doomed = removable(environments(discover(output)), everything=everything)
    if not doomed:
        output.say("Nothing to remove.")
        return
    for one in doomed:
        output.note(f"  - {one.name}  {one.state}, {in_words(one.size)}")
    size = in_words(sum(one.size for one in doomed))
    if not confirmed(f"Remove {len(doomed)}, and free up to {size}?", output, yes=yes):
        return
    for one in doomed:
        if not remove(one):
            output.note(f"{one.name} stays: somebody has begun to use it", "warning")
    output.say("Done.")


def _use(one: BuiltEnvironment) -> str:
    if one.used_by:
        return f"in use by {len(one.used_by)} process{'es' * (len(one.used_by) != 1)}"
    asked = [f"version {one.version}"] * bool(one.version) + [f"{name}: {value}" for name, value in one.options.items()]
    if asked:
        return f"for {', '.join(asked)}"
    return "" if one.wanted else "asked for by no plugin"


def _named(found: Sequence[Named], name: str) -> list[Named]:
    from rayllm.errors import InputError
    from rayllm.names import did_you_mean

    names = [one.name for one in found]
    if name and name not in names:
        raise InputError(f"there is no environment {name!r}{did_you_mean(name, names)}", cure="rayllm env list")
    return [one for one in found if name in {"", one.name}]
