"""`rayllm plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.completion import complete_plugin
from rayllm.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rayllm.cli.output import Output
    from rayllm.machine.plugin_report import PluginReport
    from rayllm.plugin_info import PluginInfo


def plugins(context: typer.Context, json: JsonOption = False) -> None:
    """List the installed plugins and what engines can do.

    A broken plugin is left out, with its cause; RAYLLM_PLUGINS_DISABLED=NAME,NAME leaves out any (`*`: all).

    Examples:
      rayllm plugins
      rayllm plugins --json
    """
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.engines import capability_rows

    output = Output()
    found = discover(output, warn=False)
    if json:
        output.print_json([asdict(info) for info in found.infos])
        return
    output.table(
        ["NAME", "VERSION", "DISTRIBUTION", "STATE", "OFFERS"],
        [
            [info.name, info.version or "-", info.distribution or "-", info.state, ", ".join(info.offers) or "-"]
            for info in found.infos
        ],
    )
    engines = {name: by for info in found.infos for name, by in info.capabilities.items()}
    if engines:
        output.say("")
        output.table(["CAPABILITY", *map(str.upper, engines)], capability_rows(engines))
    for info in found.infos:
        _say_what_is_wrong(info, output)


def plugins_doctor(
    name: Annotated[str, typer.Argument(help="The plugin's name.", autocompletion=complete_plugin)],
    json: JsonOption = False,
) -> None:
    """Look at one plugin closely: where it fails, what it requires, its hooks, what of its time is which import.

    One that RAYLLM_PLUGINS_DISABLED leaves out is looked at all the same. The exit status is 1 if it is broken.

    Examples:
      rayllm plugins doctor engine-vllm
      rayllm plugins doctor engine-vllm --json
    """
    from dataclasses import asdict

    from rayllm.cli.output import Output
    from rayllm.machine.plugin_report import report

    output = Output()
    found = report(name)
    if json:
        output.print_json(asdict(found))
    else:
        for line in _lines(found):
            output.say(line)
    if found.plugin.state == "broken":
        raise typer.Exit(1)


def _say_what_is_wrong(info: PluginInfo, output: Output) -> None:
    if info.state == "broken":
        output.say(f"\n{info.title} is broken", "bad")
        output.say("  cause  " + (info.cause or "").replace("\n", "\n         "))
        output.say(f"  do     {info.cure}")
        output.say(f"  more   {info.examined_by}")
    for oddity in info.oddities:
        output.say(f"\n{info.title} {oddity}", "warning")
        output.say(f"  more   {info.examined_by}")


def _lines(found: PluginReport) -> Iterator[str]:
    info = found.plugin
    yield ", and ".join([f"{info.title} is {info.state}", *info.oddities])
    if info.cause:
        yield "  cause     " + info.cause.replace("\n", "\n            ")
    for number, cure in enumerate(found.cures):
        yield f"  {'' if number else 'do':<8}  {cure}"
    yield f"  module    {info.module} ({found.file or 'not found'})"
    for number, wanted in enumerate(found.requires):
        here = f"{wanted.installed} is here" if wanted.installed else "not installed"
        yield f"  {'' if number else 'requires'}  ".ljust(12) + f"{'✔' if wanted.fits else '✘'} {wanted.text} ({here})"
    yield f"  hooks     {', '.join(found.hooks) or 'none'}"
    yield f"  offers    {', '.join(info.offers) or 'nothing'}"
    took = "not tried" if info.import_ms is None else f"{info.import_ms:g} ms"
    parts = ", ".join(f"{one.package} {one.ms:g} ms" for one in found.imports)
    yield f"  import    {took}" + (f" (measured apart: {parts})" if parts else "")
    if found.traceback:
        yield f"\n{found.traceback}"
