"""A plugin's function, asked while a file is checked: its fault must not hide the file's other problems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rayllm.config.document import Document, KeyPath
from rayllm.errors import PluginError, RayllmError
from rayllm.plugin_faults import Offer, fault
from rayllm.plugins import Plugins


@contextmanager
def noting(document: Document, path: KeyPath, plugins: Plugins, whose: Offer, does: str) -> Iterator[None]:
    """Note what is raised as a problem, `sys.exit` included; what nobody foresaw with the name of the plugin.

    Args:
        document: takes the problem.
        path: what the plugin was asked about.
        plugins: who offers what.
        whose: what is asked.
        does: what is said of the plugin: `can't check this`.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin makes of it
        if isinstance(error, RayllmError) and not isinstance(error, PluginError):
            said, cure = error.message, error.cure
        else:
            told = fault(plugins, whose, does, error)
            said, cure = f"{told.message}: {told.cause}", told.cure
        document.problem(path, document.redacted(said), cure=document.redacted(cure or ""))
