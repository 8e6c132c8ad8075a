"""What a person needs to know about an engine's process that ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from rayllm.engines import AnyEngine
from rayllm.errors import DeploymentError
from rayllm.serving.engine.log_tail import error_of

_KILLED = "if nobody killed it, the node had no memory left: `dmesg` there tells; reserve some with resources.memory"


def ending(
    engine: AnyEngine, who: str, what: str, *, status: int | None, lines: Sequence[str], topic: str
) -> DeploymentError:
    """The error for a process of an engine. Pure.

    Args:
        engine: explains its log.
        who: the process: `the engine`.
        what: `died while serving`, `stopped while starting`.
        status: its exit status, negative for a signal; None while it runs.
        lines: what it wrote last.
        topic: of the troubleshooting page.
    """
    how = "" if status is None else f" (killed by signal {-status})" if status < 0 else f" (exit status {status})"
    cure = engine.explain("\n".join(lines)) if engine.explain else None
    if status == -signal.SIGKILL:
        return DeploymentError(f"{who} {what}{how}", cure=cure or _KILLED, topic=topic if cure else "memory")
    return DeploymentError(f"{who} {what}{how}", cause=error_of(list(lines)) or None, cure=cure, topic=topic)
