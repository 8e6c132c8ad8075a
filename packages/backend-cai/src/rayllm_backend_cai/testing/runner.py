"""Runs a script as a Workbench kernel does. A program of its own: the standard library, and uvloop where it is.

    python -u runner.py SCRIPT

The script's text goes to a kernel: there is no `__file__`, an event loop is running, `await` works at the top, and the
working directory is on the path. Lines that only IPython knows (`!command`, `%magic`) are not understood.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any


async def run(script: str) -> int:
    """Run it; returns its exit status."""
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        source = Path(script).read_text(encoding="utf-8")
        code = compile(source, "<kernel>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)  # noqa: S307 - it is what this program is for
        else:
            exec(code, names)  # noqa: S102
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - a kernel shows whatever ends a script
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    """Run the script of the command line in a loop like a kernel's."""
    script = sys.argv[1]
    sys.path[0] = ""
    sys.argv[:] = ["ipykernel_launcher"]
    try:
        import uvloop
    except ImportError:
        loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(run(script))


if __name__ == "__main__":
    sys.exit(main())
