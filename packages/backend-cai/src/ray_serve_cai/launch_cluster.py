"""`python -m ray_serve_cai.launch_cluster`: tells which command takes its place."""

from __future__ import annotations

import sys
from itertools import pairwise

COMMANDS = {
    "start": "rayllm up",
    "start-cai": "rayllm up",
    "stop": "rayllm down",
    "stop-cai": "rayllm down",
    "status": "rayllm status",
    "status-cai": "rayllm status",
    "get-address": "rayllm status",
    "start-autoscaler": "ray up, then `cluster.backend: ray` in rayllm.yaml",
}
"""By the old tool's command, the one that does so now."""


def main(arguments: list[str]) -> int:
    """Say what to do instead; the exit status is that of bad input."""
    file = next((after for before, after in pairwise(arguments) if before == "--config"), "")
    steps = [f"python -m rayllm_backend_cai.migrate {file or 'OLD.yaml'} -o rayllm.yaml", "rayllm validate"]
    steps += [COMMANDS[word] for word in arguments if word in COMMANDS] or ["rayllm up"]
    told = "\n         ".join(steps)
    sys.stderr.write(f"ray_serve_cai.launch_cluster is gone\n  do     {told}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
