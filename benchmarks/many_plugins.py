"""A folder of small plugins that nobody asks for, as pip would have installed them."""

from __future__ import annotations

from pathlib import Path

MODULE = '''"""Serve nothing."""

from rayllm import Command, Engine, Environment, Launch, Options, hookimpl


class Own(Options):
    """What a person may write under `options:`."""

    batch: bool = True
    """Batch requests as they come."""
    dtype: str = "auto"


def commands(launch: Launch[Own]) -> list[Command]:
    return [Command(launch.python, "-m", "server", "--port", str(launch.port))]


@hookimpl
def rayllm_engines() -> list[Engine]:
    return [Engine(name="x{number}", summary="x", options=Own, environment=Environment(["x"]), commands=commands)]
'''


def write(folder: Path, count: int) -> None:
    """Make `count` distributions `rayllm-engine-xN`, each with an engine `xN` and options of its own."""
    for number in range(count):
        package = folder / f"rayllm_engine_x{number}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(MODULE.replace("{number}", str(number)))
        info = folder / f"rayllm_engine_x{number}-1.0.dist-info"
        info.mkdir()
        requires = "Requires-Dist: rayllm-core>=0.1,<0.2"
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: rayllm-engine-x{number}\nVersion: 1.0\n{requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[rayllm]\nengine-x{number} = rayllm_engine_x{number}\n")
