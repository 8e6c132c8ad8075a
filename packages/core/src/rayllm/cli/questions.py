"""The four questions of `rayllm init --interactive`; each answer is checked at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from rayllm.cli.first_file import Choices
from rayllm.cli.output import Output
from rayllm.config.document import Document
from rayllm.config.rules import check_source
from rayllm.errors import InputError
from rayllm.names import did_you_mean
from rayllm.plugins import Plugins

LAST_PORT = 65535


def ask(choices: Choices, plugins: Plugins, output: Output) -> Choices:
    """What a person answers, with `choices` for an empty answer.

    Raises:
        InputError: nobody is there to answer, or nothing is installed that could be chosen.
        KeyboardInterrupt: Ctrl-C or Ctrl-D instead of an answer.
    """
    if not sys.stdin.isatty():
        raise InputError("nobody is here to answer questions", cure="without --interactive, rayllm init asks none")
    for kind, installed in (("engine", plugins.engines), ("backend", plugins.backends)):
        if not installed:
            raise InputError(f"no {kind} is installed to choose from", cure="rayllm plugins tells what is")
    try:
        backend = _choice("Where shall it run", plugins.backends, choices.backend, output)
        engine = _choice("Which engine", plugins.engines, choices.engine, output)
        found = Choices.of_what_is_installed(plugins, backend, engine)
        schemes = ", ".join(f"{scheme}:" for scheme in sorted(plugins.sources))
        output.note(f"  a folder on the nodes, or {schemes}")
        source = _prompt("Which model", found.source, lambda text: _source(text, plugins))
        asks = "Which port shall the endpoint have"
        port = found.port if found.has_address else _prompt(asks, str(found.port), _port)
    except typer.Abort:
        output.note("")
        raise KeyboardInterrupt from None
    return replace(found, source=source, port=port)


def _choice(question: str, installed: Mapping[str, Any], default: str, output: Output) -> str:
    for name in sorted(installed):
        output.note(f"  {name:<12} {installed[name].summary}")

    def check(text: str) -> str:
        if text not in installed:
            raise typer.BadParameter(f"there is no {text!r}{did_you_mean(text, installed)}")
        return text

    return str(_prompt(question, default, check))


def _prompt(question: str, default: str, check: Callable[[str], Any]) -> Any:
    """Ask until `check` takes the answer."""
    return typer.prompt(question, default=default, value_proc=lambda text: check(text.strip()), err=True)


def _source(text: str, plugins: Plugins) -> str:
    """As `rayllm validate` checks it."""
    document = Document(Path())
    check_source(document, plugins, ("source",), text)
    if document.problems:
        problem = document.problems[0]
        raise typer.BadParameter(" ".join(filter(None, [problem.message, problem.choices, problem.cure])))
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise typer.BadParameter(f"a whole number from 1 to {LAST_PORT} expected, found {text!r}")
    return int(text)
