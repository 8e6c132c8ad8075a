"""`ray start`, made quicker, and telling when the node has joined. A script: it is run by its path, never imported.

python ray_start.py FILE start [ARGUMENT...]

FILE is made once Ray lists the node; on a head, as soon as others can join it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Do what `ray start` does."""
    del sys.path[0]  # this folder: its modules are nobody's top-level names
    sys.path.append(str(Path(__file__).parents[2]))  # Ray's environment does not name where RayLLM's code is
    joined = Path(sys.argv.pop(1))
    from rayllm.serving.ray_start import raylet_before_dashboard, without_other_commands

    without_other_commands()
    from ray._private import node
    from ray.scripts import scripts

    raylet_before_dashboard(joined.touch)
    tell_when_joined(node.Node, joined)
    scripts.main()


def tell_when_joined(kind: Any, joined: Path) -> None:
    """Make the file when a node has come up: Ray's own code waits until the head lists it."""
    come_up = kind.__init__

    def then_tell(node: Any, *given: Any, **options: Any) -> None:
        come_up(node, *given, **options)
        joined.touch()

    kind.__init__ = then_tell


if __name__ == "__main__":
    main()
