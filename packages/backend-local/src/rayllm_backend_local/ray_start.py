"""`ray start`, kept on loopback and made quicker. A script: it is run by its path, never imported."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Do what `ray start` does."""
    del sys.path[0]  # this folder: its modules are nobody's top-level names
    # Other commands of Ray's command line; it does without them, and half of its import time goes to them.
    for name in ("ray.serve.scripts", "ray.util.state.state_cli", "ray.dashboard.modules.job.cli"):
        sys.modules[name] = None  # type: ignore[assignment]
    from ray._private import node, ray_constants, services
    from ray.scripts import scripts

    # Ray replaces 127.0.0.1 by an address that other machines can reach, on a head unless
    # RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is 0, and on a worker, which that setting forbids, always.
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = lambda address=None: LOOPBACK  # noqa: ARG005
    # Ray Client's server: a process and a port that nobody here uses.
    scripts.get_ray_client_dependency_error = lambda: ImportError("not wanted")
    raylet_before_dashboard(node.Node)
    scripts.main()


def raylet_before_dashboard(kind: Any) -> None:
    """Start the raylet first, so that its agents start while Ray waits for the dashboard: some seconds less."""
    start_dashboard, start_raylet = kind.start_api_server, kind.start_ray_processes

    def later(node: Any, **options: Any) -> None:
        node.start_dashboard = partial(start_dashboard, node, **options)

    def both(node: Any) -> None:
        start_raylet(node)
        if node.head:
            from rayllm.serving.kept_code import keep_all

            keep_all(node.get_gcs_client())
            node.start_dashboard()

    kind.start_api_server, kind.start_ray_processes = later, both


if __name__ == "__main__":
    main()
