"""Tells of this node's environments, for somebody elsewhere: one a line, as JSON.

    python -m rayllm.machine.on_node '{"closely": false}'

A line has `environment` (a `BuiltEnvironment`) and, where it was looked at closely, `check` (an `EnvironmentCheck`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from rayllm.machine.environments import check, environments
from rayllm.plugins import Plugins


def main(asked: str) -> None:
    """Print them all."""
    closely = json.loads(asked)["closely"]
    plugins = Plugins.discover()
    for one in environments(plugins):
        found = {"check": asdict(check(one, plugins))} if closely else {}
        print(json.dumps({"environment": asdict(one), **found}), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main(sys.argv[1])
