"""Telling observers what a command does: in order, each in a thread of its own, and never for longer than a bound."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from rayllm.errors import PluginError, RayllmError
from rayllm.events import CommandFailed, Event
from rayllm.plugin_info import PluginInfo, cause_of

if TYPE_CHECKING:
    from rayllm.deployment.session import Session
    from rayllm.plugins import EventHook, Plugins

SETTLE_S = 5.0
"""Seconds that a command waits at its end for all observers together."""
Tell = Callable[[Event], None]


def nobody(event: Event) -> None:
    """A `Tell` that tells nobody."""


@contextmanager
def telling(session: Session, command: str) -> Iterator[Tell]:
    """Tell the observers what one command does, and how it failed.

    Args:
        session: what it is done to.
        command: its name.
    """
    observers = Observers(session.plugins)
    try:
        yield observers.tell
    except RayllmError as error:
        observers.tell(
            CommandFailed(
                deployment=session.name,
                command=command,
                message=error.message,
                cause=error.cause or "",
                cure=error.cure or "",
            )
        )
        observers.settle()
        raise
    except BaseException:  # Ctrl-C waits for nobody
        observers.dismiss()
        raise
    observers.settle()


class Observers:
    """The observers of one command. Who fails or hangs is told no more, in this command and in those after it."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._threads: dict[str, _Observer] = {}

    def tell(self, event: Event) -> None:
        """Hand an event on, without waiting. The first one imports the plugins called `observer-NAME`."""
        for info, hook in self._plugins.observers():
            if info.name not in self._threads:
                self._threads[info.name] = _Observer(info, hook)
                self._threads[info.name].start()
            self._threads[info.name].events.put(event)

    def dismiss(self) -> None:
        """Let each go once it has heard all."""
        for observer in self._threads.values():
            observer.events.put(None)

    def settle(self) -> None:
        """Wait until all was told, within the bound; tell of those that failed or did not get so far."""
        self.dismiss()
        end = time.monotonic() + SETTLE_S
        for observer in self._threads.values():
            observer.join(max(0.0, end - time.monotonic()))
            if cause := observer.cause():
                self._plugins.deafen(observer.info, cause)


class _Observer(threading.Thread):
    """Calls one plugin's hook with one event after the other, up to its first fault."""

    def __init__(self, info: PluginInfo, hook: EventHook) -> None:
        # A daemon: what hangs must not keep the process from ending.
        super().__init__(name=f"rayllm {info.name}", daemon=True)
        self.info = info
        self.events: SimpleQueue[Event | None] = SimpleQueue()
        self._hook = hook
        self._at = ""
        self._fault: BaseException | None = None

    def run(self) -> None:
        while (event := self.events.get()) is not None:
            self._at = type(event).__name__
            try:
                self._call(event)
            # Also sys.exit, which would otherwise end the thread in silence.
            except BaseException as error:  # noqa: BLE001
                self._fault = error
                return

    def _call(self, event: Event) -> None:
        for result in self._hook(event=event):  # the generator of a `yield`, or a coroutine: nothing of it has run
            if hasattr(result, "close"):
                result.close()
            raise PluginError(f"rayllm_event() returned {type(result).__name__}, where nothing is wanted")

    def cause(self) -> str:
        """Why it is to be told no more; empty where all is well."""
        if self._fault:
            return f"{cause_of(self._fault)}, at {self._at}{_place_of(self._fault)}".replace("\n", " ")
        return f"it was not done with {self._at} {SETTLE_S:g} s after the command" if self.is_alive() else ""


def _place_of(error: BaseException) -> str:
    """` (its_module.py, line 12)`: where in the hook it was; nothing for an error that says by itself what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    called = next((number for number, frame in enumerate(frames) if "pluggy" in Path(frame.filename).parts), 0)
    if isinstance(error, RayllmError) or not called:
        return ""
    return f" ({Path(frames[called - 1].filename).name}, line {frames[called - 1].lineno})"
