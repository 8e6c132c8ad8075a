"""Long work, as a person sees it: live lines on a terminal, one line for each thing that happened elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from rayllm.cli.hints import with_file

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table


@dataclass
class _Step:
    detail: str
    started: float = field(default_factory=time.monotonic)
    took: float | None = None

    @property
    def seconds(self) -> float:
        return self.took if self.took is not None else time.monotonic() - self.started


class Steps:
    """A `rayllm.Progress` on stderr, so that stdout stays for results. Use it as a context manager."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._live: Live | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8)

    def __enter__(self) -> Steps:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, step: str, detail: str, *, done: bool = False) -> None:
        """Show that `step` is at `detail`."""
        detail = with_file(detail)
        known = self._steps.setdefault(step, _Step(""))
        news = detail.partition(" · ")[0] != known.detail.partition(" · ")[0] or done
        known.detail = detail
        if done:
            known.took = known.seconds
        if news and not self._live:
            mark = "✔" if done else "·"
            print(f"{mark} {step:<12} {detail}{_took(known) if done else ''}", file=sys.stderr, flush=True)  # noqa: T201

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for name, step in self._steps.items():
            done = step.took is not None
            mark = Text("✔", style="green") if done else Spinner("dots")
            table.add_row(mark, Text(name), Text(step.detail, overflow="ellipsis", no_wrap=True), Text(_took(step)))
        return table


def _took(step: _Step) -> str:
    seconds = round(step.seconds)
    return f"  {seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"  {seconds} s"  # noqa: PLR2004  a minute
