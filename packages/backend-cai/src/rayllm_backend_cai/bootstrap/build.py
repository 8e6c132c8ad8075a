"""Makes the environments that the nodes of a cluster run with: their own, then those of the models' engines.

    python code/DIGEST/rayllm_backend_cai/bootstrap/build.py

A program of its own, which a job of the platform runs with its runtime's Python: the standard library alone. What is to
be made is told by environment variables (`asked`), how it goes in a file (`journal`) and on standard output. What is
there already costs nothing; what was broken off is made anew.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayllm_backend_cai.bootstrap.asked import Asked
    from rayllm_backend_cai.bootstrap.journal import Journal

CODE = Path(__file__).absolute().parents[2]
"""The folder with the nodes' code."""


def main() -> int:
    """Make what is asked for; 1 where it can't be made, and the last line says why."""
    from rayllm.errors import RayllmError
    from rayllm.faults import from_system
    from rayllm_backend_cai.bootstrap.asked import Asked
    from rayllm_backend_cai.bootstrap.journal import Journal

    os.environ.pop("PIP_USER", None)  # the platform's, for sessions; it would lead pip out of any environment
    os.environ["RAYLLM_HOME"] = str(CODE.parents[1])  # as nodes have it
    asked = Asked.of(os.environ)
    try:
        journal = Journal(asked)
    except OSError as error:
        print(from_system(error), flush=True)  # noqa: T201 - there is nowhere else to say it
        return 1
    try:
        make(asked, journal)
    except RayllmError as error:
        return journal.fail(error)
    except OSError as error:
        return journal.fail(from_system(error))
    except BaseException as error:
        journal.fail(RayllmError(f"the environments were not made: {type(error).__name__}: {error}"))
        raise
    return journal.succeed()


def make(asked: Asked, journal: Journal) -> None:
    """The nodes' environment, then those of the engines.

    Raises:
        RayllmError: one can't be made; with cause and cure.
    """
    from rayllm_backend_cai.bootstrap.nodes import ensure_nodes

    python = ensure_nodes(asked, CODE, journal.reporter("environment"))
    if asked.preparation:
        from rayllm_backend_cai.bootstrap.engines import ensure_engines

        ensure_engines(asked, python, journal)


def find_modules() -> None:
    """Let what lies in the code's folder be imported, without what this package's users need.

    The package itself imports pydantic, which a runtime need not have; the modules in here don't. This folder must not
    be on the path: its `code` is not Python's own.
    """
    here = Path(__file__).absolute().parent
    sys.path[:] = [str(CODE), *(place for place in sys.path if Path(place).absolute() != here)]
    package = types.ModuleType(CODE.joinpath("rayllm_backend_cai").name)
    package.__path__ = [str(CODE / package.__name__)]
    sys.modules[package.__name__] = package


if __name__ == "__main__":
    find_modules()
    sys.exit(main())
