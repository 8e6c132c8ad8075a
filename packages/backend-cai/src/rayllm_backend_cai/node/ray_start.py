"""`ray start`, made quicker, and telling when the node has joined. A script: it is run by its path, never imported.

python ray_start.py FILE start [ARGUMENT...]

FILE is made once Ray lists the node; on a head, as soon as others can join it.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any


def main() -> None:
    """Do what `ray start` does."""
    del sys.path[0]  # this folder: its modules are nobody's top-level names
    sys.path.append(str(Path(__file__).parents[2]))  # Ray's environment does not name where RayLLM's code is
    joined = Path(sys.argv.pop(1))
    # Other commands of Ray's command line; it does without them, and half of its import time goes to them.
    for name in ("ray.serve.scripts", "ray.util.state.state_cli", "ray.dashboard.modules.job.cli"):
        sys.modules[name] = None  # type: ignore[assignment]
    from ray._private import node
    from ray.scripts import scripts

    # Ray Client's server: a process and a port that nobody here uses.
    scripts.get_ray_client_dependency_error = lambda: ImportError("not wanted")
    raylet_before_dashboard(node.Node, joined)
    tell_when_joined(node.Node, joined)
    scripts.main()


def raylet_before_dashboard(kind: Any, joined: Path) -> None:
    """Start the raylet first, so that its agents, and workers, start while Ray waits for its dashboard."""
    start_dashboard, start_raylet = kind.start_api_server, kind.start_ray_processes

    def later(node: Any, **options: Any) -> None:
        node.start_dashboard = partial(start_dashboard, node, **options)

    def both(node: Any) -> None:
        start_raylet(node)
        if node.head:
            from rayllm.serving.kept_code import keep_all

            keep_all(node.get_gcs_client())
            joined.touch()
            node.start_dashboard()

    kind.start_api_server, kind.start_ray_processes = later, both


def tell_when_joined(kind: Any, joined: Path) -> None:
    """Make the file when a node has come up: Ray's own code waits until the head lists it."""
    come_up = kind.__init__

    def then_tell(node: Any, *given: Any, **options: Any) -> None:
        come_up(node, *given, **options)
        joined.touch()

    kind.__init__ = then_tell


if __name__ == "__main__":
    main()
