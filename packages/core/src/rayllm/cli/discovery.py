"""The installed plugins, as a command sees them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from rayllm.cli.output import Output

if TYPE_CHECKING:
    from rayllm.plugins import Plugins


def discover(output: Output, *, warn: bool = True) -> Plugins:
    """Load the plugins, and tell on stderr which are broken."""
    from rayllm.plugins import Plugins

    # A plugin that prints when imported must not spoil `--json`.
    with contextlib.redirect_stdout(sys.stderr):
        plugins = Plugins.discover()
    for info in plugins.broken if warn else ():
        cause = (info.cause or "").partition("\n")[0]
        output.note(f"warning: plugin {info.title} is left out: {cause}   → {info.cure}", "warning")
    return plugins
