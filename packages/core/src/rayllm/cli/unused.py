"""Keys of a file that say nothing with its backend: told where a person checks the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.config import Checked


def tell_unused(checked: Checked, output: Output) -> None:
    """One line, if there are any."""
    if checked.unused:
        say = "say" if len(checked.unused) > 1 else "says"
        who = f"the backend {checked.backend.name} gives the endpoint its address"
        output.note(f"{' and '.join(checked.unused)} {say} nothing: {who}", "warning")
