"""`rayllm explain`: the topics that errors name, and the page that they are sections of."""

from __future__ import annotations

import ast
import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayllm.cli.explain import PAGE, explain, for_terminals, sections, summary
from rayllm.errors import InputError

ROOT = Path(__file__).parents[3]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))


def topics_of(file: Path) -> Iterator[str]:
    """Every text that a file passes on as `topic`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "topic":
            ends = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
            yield from (str(end.value) for end in ends if isinstance(end, ast.Constant))


@functools.cache
def used() -> dict[str, set[str]]:
    """The topics that the code names, and where."""
    found: dict[str, set[str]] = {}
    for file in SOURCES:
        for topic in topics_of(file):
            found.setdefault(topic, set()).add(file.name)
    return found


def test_every_topic_of_an_error_is_a_section() -> None:
    """A person who follows `more` finds it."""
    assert used()
    assert {topic: where for topic, where in used().items() if topic not in sections()} == {}


def test_every_section_is_named_somewhere() -> None:
    """By an error, by another section, or by another page."""
    text = "\n".join(file.read_text() for file in [PAGE, *ROOT.glob("docs/**/*.md"), ROOT / "README.md"])
    linked = set(re.findall(r"(?:\(|troubleshooting\.md)#([\w-]+)\)", text))
    assert [topic for topic in sections() if topic not in used() and topic not in linked] == []


@pytest.mark.parametrize("topic", sections())
def test_every_section_says_something(topic: str) -> None:
    """One sentence for the list, then more than that; a name that is quickly typed."""
    text = sections()[topic]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", topic)
    assert summary(text).endswith(".")
    assert len(summary(text)) <= 100
    assert len(text) > 2 * len(summary(text))


def test_the_documentation_has_the_same_page() -> None:
    """One text: edit the one beside the commands, and copy it."""
    assert (ROOT / "docs/troubleshooting.md").read_text() == PAGE.read_text()


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every topic with what it is."""
    explain()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["TOPIC", "WHAT", "IT", "IS"]
    assert [line.split()[0] for line in lines[1:-2]] == list(sections())
    assert lines[-1] == "One of them: rayllm explain TOPIC"


def test_a_topic_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands on the page, so that it can be searched and copied."""
    explain("port-in-use")
    assert capsys.readouterr().out == f"# port-in-use\n\n{sections()['port-in-use']}\n"


def test_a_topic_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid out, without the marks of Markdown."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    explain("port-in-use")
    assert "port 8124 on 127.0.0.1 is in use" in screen.getvalue()
    assert "```" not in screen.getvalue()


def test_links_lead_somewhere_without_a_browser() -> None:
    """To a command, or to the page's place in the documentation."""
    text = "see [memory](#memory) and [`resources`](configuration.md#resources), [local](backends/local.md)"
    assert for_terminals(text) == (
        "see memory (`rayllm explain memory`) and `resources` (docs/configuration.md), local (docs/backends/local.md)"
    )


def test_an_unknown_topic() -> None:
    """Its nearest name, and the way to all."""
    with pytest.raises(InputError) as caught:
        explain("port-is-use")
    assert caught.value.message == "there is no topic 'port-is-use'; did you mean \"port-in-use\"?"
    assert caught.value.cure == "rayllm explain lists them"
