"""`ray start`, kept on loopback and made quicker. A script: it is run by its path, never imported."""

from __future__ import annotations

import sys

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Do what `ray start` does."""
    del sys.path[0]  # this folder: its modules are nobody's top-level names
    from rayllm.serving.ray_start import raylet_before_dashboard, without_other_commands

    without_other_commands()
    from ray._private import ray_constants, services
    from ray.scripts import scripts

    # Ray replaces 127.0.0.1 by an address that other machines can reach, on a head unless
    # RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is 0, and on a worker, which that setting forbids, always.
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = lambda address=None: LOOPBACK  # noqa: ARG005
    raylet_before_dashboard()
    scripts.main()


if __name__ == "__main__":
    main()
