"""`python -m rayllm_backend_cai.testing`: a workspace on this machine until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rayllm_backend_cai.testing.fake import FakeCai
from rayllm_backend_cai.testing.faults import Fault
from rayllm_backend_cai.testing.settings import Settings


class Scenario(BaseModel):
    """What the file given with --faults says."""

    model_config = ConfigDict(extra="forbid")

    settings: Settings = Settings()
    faults: list[Fault] = []
    projects: list[str] = []
    """Names of projects that are there from the start."""


def main() -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rayllm_backend_cai.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where it listens on 127.0.0.1; a free one if left out")
    parser.add_argument("--root", type=Path, help="folder for projects and logs; a temporary one if left out")
    parser.add_argument("--domain", default="localhost", help="its name; applications are at SUBDOMAIN.DOMAIN:PORT")
    parser.add_argument("--key", default="", help="the API key (64 hex digits, a dot, 64 hex digits); else made up")
    parser.add_argument("--faults", type=Path, help="YAML with settings, faults and projects: see docs/cai-fake.md")
    told = parser.parse_args()
    try:
        scenario = Scenario() if told.faults is None else Scenario.model_validate(_read(told.faults))
    except (OSError, ValueError, yaml.YAMLError) as error:
        what = "\n".join(_mistakes(error)) if isinstance(error, ValidationError) else str(error)
        parser.error(f"--faults {told.faults}: {what}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        serve(told, scenario)
    except OSError as error:
        sys.stderr.write(f"can't listen on port {told.port}: {error.strerror or error}\n")
        return 1
    return 0


def serve(told: argparse.Namespace, scenario: Scenario) -> None:
    """Serve until a signal comes."""
    with FakeCai(
        scenario.settings,
        port=told.port,
        root=told.root,
        domain=told.domain,
        key=told.key,
        faults=scenario.faults,
    ) as fake:
        for name in scenario.projects:
            fake.add_project(name)
        lines = (
            f"export CML_HOST={fake.url}",
            f"export CML_API_KEY={fake.key}",
            f"# runtime {fake.image}",
            f"# projects and logs are in {fake.root}",
        )
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        signal.sigwait((signal.SIGINT, signal.SIGTERM))


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text()) or {}


def _mistakes(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]


if __name__ == "__main__":
    sys.exit(main())
