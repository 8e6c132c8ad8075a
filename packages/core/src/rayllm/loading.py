"""Telling which plugin is waited for, while it is being loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rayllm import plugin_info
from rayllm.plugin_info import PluginInfo

WAIT_S = 2.0
"""Seconds of loading after which a plugin is told of."""
LOOK_S = 0.25


class Waiting(threading.Thread):
    """One thread, however many plugins are loaded: to start one for each would cost more than all the rest of it."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__(name="rayllm loading", daemon=True)
        self._told = told
        self._over = threading.Event()
        self._at: tuple[PluginInfo, float] | None = None

    @contextmanager
    def watching(self) -> Iterator[Waiting]:
        """Be at work meanwhile."""
        self.start()
        try:
            yield self
        finally:
            self._over.set()

    def loads(self, info: PluginInfo) -> None:
        """Wait for this plugin from now on; the one before is loaded."""
        self._at = (info, time.monotonic())

    def run(self) -> None:
        """Tell of each plugin once that takes too long."""
        known: PluginInfo | None = None
        while not self._over.wait(LOOK_S):
            info, since = self._at or (None, 0.0)
            if info and info is not known and time.monotonic() - since >= WAIT_S:
                known = info
                self._told(plugin_info.waiting(info))
