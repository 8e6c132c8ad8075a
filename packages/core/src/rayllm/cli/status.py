"""`rayllm status`: what runs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.status import Status

_STYLES = {"ready": "good", "failed": "bad", "unhealthy": "bad"}


def status(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Show the models, their replicas and what is wrong; the exit status is 1 if something is not ready.

    Examples:
      rayllm status
      rayllm status --json
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    llm = open_file(file, output)
    found = llm.status()
    if json:
        output.print_json(found.to_json())
    else:
        _show(found, llm.config.cluster.backend, output)
    parts = [*found.models.values(), found.gateway]
    if not found.models or any(part is None or part.state != "ready" for part in parts):
        raise typer.Exit(1)


def _show(found: Status, backend: str, output: Output) -> None:
    from rayllm.deployment.wording import describe, describe_past

    alive = [node for node in found.nodes if node.state == "alive"]
    plural = "s" * (len(alive) != 1)
    output.say(f"{found.name} on {backend} · {found.gateway_url} · {len(alive)} node{plural}", "bold")
    rows = [
        (model.name, model.engine, f"{model.running}/{model.wanted}", model.state) for model in found.models.values()
    ]
    output.table(("MODEL", "ENGINE", "REPLICAS", "STATE"), rows)
    if found.gateway is None:
        output.say("  gateway: not deployed   → rayllm up", "bad")
    parts = [*found.models.values(), *([found.gateway] if found.gateway else [])]
    for part in (part for part in parts if part.state != "ready"):
        output.say(f"  {part.name}: {describe(part)}", _STYLES.get(part.state))
        if part.failure:
            _show_failure(part.name, part.failure, output)
    for model in found.models.values():
        if model.past and model.state == "ready":
            output.say(f"  {model.name}: ready again; {describe_past(model.past)}", "warning")
            _show_failure(model.name, model.past, output)


def _show_failure(name: str, failure: dict[str, Any], output: Output) -> None:
    for label in ("cause", "cure"):
        if failure[label]:
            text = failure[label].replace("\n", "\n            ")
            output.say(f"    {'do' if label == 'cure' else label:<7} {text}")
    output.say(f"    log     rayllm logs {name}")
