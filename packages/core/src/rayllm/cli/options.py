"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayllm.cli.hints import remember

FileOption = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", help="The deployment's YAML file.", callback=remember)
]
DEFAULT_FILE = Path("rayllm.yaml")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
