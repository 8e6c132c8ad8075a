"""The command line. Every error a person can act on ends here, as text without a traceback."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rayllm.errors import RayllmError


def main() -> None:
    """Run `rayllm`; the exit status is 0 done, 1 failed, 2 bad input, 130 interrupted."""
    try:
        _run()
    finally:
        _end_stdout()


def _run() -> None:
    # Without a stream (`>&-`) Python has None in its place, on which every print of ours would fall.
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: PTH123, SIM115
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show `→` shows `?`, and the command goes on.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if sys.argv[1:] == ["--version"]:
        show_version()  # scripts ask for it: they need not wait for the rest
        return
    # httpx would load its own command line, and with it rich: a tenth of the time that `rayllm status` takes.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from rayllm.errors import RayllmError

    try:
        from rayllm.cli.app import app

        app(prog_name="rayllm")
    except RayllmError as error:
        _end(error)
    except OSError as error:  # a full disk, a home that can't be written, a stream that is closed
        from rayllm.faults import from_system

        _end(from_system(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - whatever is left is nobody's mistake but ours
        import traceback

        from rayllm.faults import from_bug

        traceback.print_exc()
        _end(from_bug(error))


def _end_stdout() -> None:
    """What plugins print at the process's end, in an `atexit` or out of a library's buffer, is no result."""
    from rayllm.streams import stdout_is_over

    try:
        stdout_is_over()
    except OSError as error:
        from rayllm.faults import from_system

        _end(from_system(error))


def _end(error: RayllmError) -> NoReturn:
    from rayllm.cli.hints import with_file

    print(with_file(str(error)), file=sys.stderr)  # noqa: T201
    sys.exit(error.exit_code)


def show_version() -> None:
    """Print `rayllm VERSION`."""
    from rayllm import __version__

    print(f"rayllm {__version__}")  # noqa: T201
