"""`rayllm adapters`: LoRA adapters of models that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.completion import complete_adapter, complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output


def adapters_list(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """List the adapters by model, with where each is from and on how many replicas it is loaded.

    Examples:
      rayllm adapters list
      rayllm adapters list --json
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    found = open_file(file, output).adapters.list()
    if json:
        output.print_json([asdict(one) for one in found])
    elif not found:
        output.say("There are none. Add one: rayllm adapters add NAME SOURCE")
    else:
        rows = [
            (
                one.name,
                one.model,
                f"{one.status.loaded}/{one.status.replicas}",
                one.status.state,
                "added" if one.status.added else "file",
                one.status.source,
            )
            for one in found
        ]
        output.table(("NAME", "MODEL", "REPLICAS", "STATE", "FROM", "SOURCE"), rows)


def adapters_add(
    name: Annotated[str, typer.Argument(help="What clients send as `model`.")],
    source: Annotated[str, typer.Argument(help="Where it is, as a model's `source`: hf://ORG/NAME, a path, …")],
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="MODEL",
            help="The model that it was made for; not needed where the file has one.",
            autocompletion=complete_model,
        ),
    ] = None,
) -> None:
    """Load a LoRA adapter on every replica of a model that runs, and wait until all have it; nothing is restarted.

    From then on clients ask for it by its name, and later replicas load it, too. The cluster is changed, the file is
    not: `rayllm up` keeps the adapter, unless the file gives its name to something else. The model has to take
    adapters: it has some in the file, or `enable_lora: true` under its options.

    One of that name from another source gives way to it. Where a replica can't load it, all is as before.

    Examples:
      rayllm adapters add sql hf://org/llama-sql-lora
      rayllm adapters add sql /srv/adapters/sql --to llama-8b
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    try:
        with Steps() as steps, stdout_to_stderr():
            made = llm.adapters.add(name, source, model=to, progress=steps)
    except KeyboardInterrupt:
        output.note(
            f"Interrupted. What the cluster was told goes on: rayllm adapters list; rayllm adapters remove {name}"
        )
        raise
    if json:
        output.print_json(asdict(made))
        return
    replicas = made.status.replicas
    where = f"loaded on {replicas} replica{'' if replicas == 1 else 's'}" if replicas else "loaded when the model wakes"
    output.say(f"{name} is an adapter of {made.model}, {where}")
    _tell_drift(output, file, llm.config.models[made.model].adapters.get(name), source)


def adapters_remove(
    name: Annotated[str, typer.Argument(help="The adapter's name.", autocompletion=complete_adapter)],
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Take a LoRA adapter from every replica; requests in flight are finished, and nothing is restarted.

    One that the file names comes back with the next `rayllm up`.

    Examples:
      rayllm adapters remove sql
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    with Steps() as steps, stdout_to_stderr():
        gone = llm.adapters.remove(name, progress=steps)
    if json:
        output.print_json(asdict(gone))
        return
    output.say(f"{name} is no longer an adapter of {gone.model}")
    model = llm.config.models.get(gone.model)
    _tell_drift(output, file, model.adapters.get(name) if model else None, None)


def _tell_drift(output: Output, file: object, in_file: str | None, now: str | None) -> None:
    """Say so where `up` would change it again."""
    if in_file is not None and in_file != now:
        output.note(f"{file} says otherwise: rayllm up sets it back to {in_file}", "dim")
