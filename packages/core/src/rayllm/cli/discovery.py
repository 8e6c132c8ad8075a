"""The installed plugins, as a command sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayllm.cli.output import Output

if TYPE_CHECKING:
    from rayllm.plugins import PluginInfo, Plugins


def discover(output: Output, *, warn: bool = True) -> Plugins:
    """Find the plugins; of those that a command comes to need, tell on stderr which are broken."""
    from rayllm.plugins import Plugins

    def tell(info: PluginInfo) -> None:
        cause = (info.cause or "").partition("\n")[0]
        output.note(f"warning: plugin {info.title} is left out: {cause}   → {info.cure}", "warning")

    return Plugins.discover(heard=tell if warn else None)
