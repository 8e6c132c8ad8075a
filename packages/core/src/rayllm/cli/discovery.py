"""The installed plugins, as a command sees them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rayllm.cli.output import Output

if TYPE_CHECKING:
    from rayllm.plugins import Plugins


def discover(output: Output, *, warn: bool = True) -> Plugins:
    """Find the plugins; of those that a command comes to need, tell on stderr which are broken, slow or talk."""
    from rayllm.plugins import Plugins

    def tell(line: str) -> None:
        # While a command works, stderr may belong to its live lines, which go on below what is printed.
        Output(output.stdout, sys.stderr).note(f"warning: {line}", "warning")

    return Plugins.discover(heard=tell if warn else lambda _: None, waits=tell)
