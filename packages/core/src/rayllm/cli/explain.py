"""`rayllm explain`: the troubleshooting page, one section at a time, without a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from rayllm.cli.completion import complete_topic
from rayllm.cli.output import Output

PAGE = Path(__file__).with_name("troubleshooting.md")
"""The page itself: docs/troubleshooting.md is a copy of it. Beside the commands, so that it travels to no node."""


def explain(
    topic: Annotated[
        str,
        typer.Argument(
            help="What an error names as `more`; all topics are listed without it.", autocompletion=complete_topic
        ),
    ] = "",
) -> None:
    """Tell more about an error: what it looks like, why it happens, what to do, how to check.

    Examples:
      rayllm explain
      rayllm explain port-in-use
    """
    from rayllm.errors import InputError
    from rayllm.names import did_you_mean

    output = Output()
    found = sections()
    if not topic:
        output.table(["TOPIC", "WHAT IT IS"], [[name, summary(text)] for name, text in found.items()])
        output.say("\nOne of them: rayllm explain TOPIC")
    elif topic in found:
        _show(f"# {topic}\n\n{for_terminals(found[topic])}", output)
    else:
        raise InputError(f"there is no topic {topic!r}{did_you_mean(topic, found)}", cure="rayllm explain lists them")


def sections() -> dict[str, str]:
    """The page's sections by topic, without their titles, in order."""
    _, *parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))


def summary(section: str) -> str:
    """A section's first paragraph, on one line."""
    return " ".join(section.partition("\n\n")[0].split())


def for_terminals(section: str) -> str:
    """A section whose links lead somewhere without a browser: to other topics and to pages of the documentation."""
    text = re.sub(r"\[([^]]+)]\(#([\w-]+)\)", r"\1 (`rayllm explain \2`)", section)
    return re.sub(r"\[([^]]+)]\(([\w/.-]+)(#[\w-]+)?\)", r"\1 (docs/\2)", text)


def _show(text: str, output: Output) -> None:
    """Laid out on a person's terminal, as it is written elsewhere."""
    if not output.stdout.isatty():
        output.say(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=output.stdout).print(Markdown(text))
