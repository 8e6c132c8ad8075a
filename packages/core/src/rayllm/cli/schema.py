"""`rayllm schema`: what may stand in a file, for editors."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of a deployment's file; the options of every installed plugin are in it.

    Editors with a YAML language server complete and check a file whose first line names it:
    `# yaml-language-server: $schema=rayllm.schema.json`

    Examples:
      rayllm schema > rayllm.schema.json
    """
    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.config.json_schema import json_schema

    output = Output()
    output.print_json(json_schema(discover(output)))
