"""Looking again and again: live on a terminal, one block for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rayllm.cli.hints import with_file
from rayllm.cli.output import Line, Output
from rayllm.errors import ClusterError

Write = Callable[[str, "str | None"], None]
EVERY_S = 1.0
_STYLES = {"good": "green", "bad": "red", "warning": "yellow"}


def watch(look: Callable[[], tuple[Any, list[Line]]], output: Output) -> None:
    """Show what `look` sees until Ctrl-C, which is how a watch ends.

    Args:
        look: returns what makes two sights the same, and the lines to show. A cluster that isn't there, or does not
            answer, is a sight too.
        output: where to.
    """
    with _screen(output) as show:
        try:
            before: Any = None
            while True:
                try:
                    sight, lines = look()
                    write = output.say
                except ClusterError as problem:
                    sight, lines = str(problem), [(str(problem), "bad")]
                    write = output.note  # a program that reads the results must not meet it among them
                show(lines, write if sight != before else None)
                before = sight
                time.sleep(EVERY_S)
        except KeyboardInterrupt:
            return


class _screen:  # noqa: N801  used as a context manager
    """Shows blocks of lines."""

    def __init__(self, output: Output) -> None:
        self._live: Any = None
        if output.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=output.stdout, highlight=False)
            self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Callable[[Sequence[Line], Write | None], None]:
        if self._live:
            self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def _show(self, lines: Sequence[Line], write: Write | None) -> None:
        if self._live:
            from rich.text import Text

            shown = ((with_file(line), _STYLES.get(style or "", style or "")) for line, style in lines)
            text = Text("\n").join(Text(line, style=style) for line, style in shown)
            self._live.update(text, refresh=True)
        elif write:
            for line, style in lines:
                write(line, style)
