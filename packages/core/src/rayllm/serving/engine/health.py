"""When is an engine hung: it has work, and makes no tokens."""

from __future__ import annotations

from rayllm.engines import Device
from rayllm.serving.engine.load import Load

HANG_S = 60.0
"""Seconds of work without a single token after which an engine on a GPU counts as hung."""
HANG_CPU_S = 600.0
"""The same on a CPU, where reading a long prompt takes minutes and makes no token."""


def hang_s(device: Device) -> float:
    """How long an engine on `device` may work without a token."""
    return HANG_CPU_S if device.kind == "cpu" else HANG_S


class HangWatch:
    """Fed with an engine's load; says since when it makes no progress."""

    def __init__(self) -> None:
        self._generated = -1.0
        self._since: float | None = None

    def stuck_for(self, load: Load, now: float) -> float:
        """Seconds the engine has had requests and generated nothing; 0 when idle or at work.

        Those that wait count: an engine that hangs before it takes them up runs none. One that never generated
        anything serves embeddings: its tokens tell nothing.
        """
        if load.generated == 0:
            return 0.0
        if load.ongoing == 0 or load.generated != self._generated:
            self._generated = load.generated
            self._since = now if load.ongoing else None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since
