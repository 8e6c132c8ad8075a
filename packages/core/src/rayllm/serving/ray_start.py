"""What makes `ray start` quicker and its head safer: for scripts that are Ray's command line in all else.

It changes Ray's own classes: to be used before `ray.scripts.scripts.main()`, in a process that does nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from rayllm.serving.kept_code import keep_all


def without_other_commands() -> None:
    """Leave out what is of no use to `ray start`: half of its import time, and a server that nobody here asks."""
    for name in ("ray.serve.scripts", "ray.util.state.state_cli", "ray.dashboard.modules.job.cli"):
        sys.modules[name] = None  # type: ignore[assignment]
    from ray.scripts import scripts

    # Ray Client's server: a process and a port.
    scripts.get_ray_client_dependency_error = lambda: ImportError("not wanted")


def raylet_before_dashboard(then: Callable[[], None] = lambda: None) -> None:
    """Start a head's raylet first, so that its agents, and workers, start while Ray waits for its dashboard.

    The code packages that an earlier head left are kept.

    Args:
        then: called on a head as soon as others can join it.
    """
    from ray._private.node import Node

    kind: Any = Node
    start_dashboard, start_raylet = kind.start_api_server, kind.start_ray_processes

    def later(node: Any, **options: Any) -> None:
        node.start_dashboard = partial(start_dashboard, node, **options)

    def both(node: Any) -> None:
        start_raylet(node)
        if node.head:
            keep_all(node.get_gcs_client())
            then()
            node.start_dashboard()

    kind.start_api_server, kind.start_ray_processes = later, both
