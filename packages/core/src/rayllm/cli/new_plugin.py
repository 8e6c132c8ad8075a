"""`rayllm plugins new`: a plugin that works, to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.completion import complete_kind
from rayllm.cli.options import JsonOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.scaffold import NewPlugin


def plugins_new(
    kind: Annotated[
        str, typer.Argument(help="What it offers: engine, backend or source.", autocompletion=complete_kind)
    ],
    name: Annotated[str, typer.Argument(help="What a file calls it: lower case words joined by `-`.")],
    into: Annotated[
        Path, typer.Option("--into", metavar="FOLDER", help="Where the new folder is made; here if left out.")
    ] = Path(),
    json: JsonOption = False,
) -> None:
    """Make a plugin that works: a distribution with tests, README and CI, in a folder of its own.

    It is called rayllm-KIND-NAME. Nothing is overwritten, and nothing is installed.

    Examples:
      rayllm plugins new engine demo
      rayllm plugins new backend my-cloud --into ~/src
      rayllm plugins new source share --json
    """
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.scaffold import make

    output = Output()
    made = make(kind, name, into, discover(output))
    if json:
        output.print_json(asdict(made))
    else:
        _show(made, output)


def _show(made: NewPlugin, output: Output) -> None:
    """What was made, and every step from here to an answer."""
    from shlex import quote

    folder = Path(made.folder)
    output.say(f"Made {folder}: {len(made.files)} files; begin with {made.edit}")
    output.say("Next:")
    output.say(f"  pip install -e {quote(f'{_as_path(folder)}[test]')}")
    output.say("  rayllm plugins")
    output.say(f"  pytest {quote(str(folder))}")
    if "rayllm.yaml" in made.files:
        output.say(f"  rayllm up -f {quote(str(folder / 'rayllm.yaml'))}")


def _as_path(folder: Path) -> str:
    """With a slash in front where it is relative: pip would take it for a name on the index."""
    return str(folder) if folder.is_absolute() else f"./{folder}"
