"""`rayllm plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict

from rayllm.cli.options import JsonOption


def plugins(json: JsonOption = False) -> None:
    """List the installed plugins and what they offer.

    A broken plugin is left out, with its cause; RAYLLM_PLUGINS_DISABLED=NAME,NAME leaves out any (`*`: all).

    Examples:
      rayllm plugins
      rayllm plugins --json
    """
    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output

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
    for info in found.broken:
        output.say(f"\n{info.title} is broken", "bad")
        output.say("  cause  " + (info.cause or "").replace("\n", "\n         "))
        output.say(f"  do     {info.cure}")
        output.say("  more   rayllm explain plugin")
