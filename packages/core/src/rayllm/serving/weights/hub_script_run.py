"""Running `hub_script`, with a Python that has huggingface_hub."""

from __future__ import annotations

import sys

from rayllm.engines import Device, Environment
from rayllm.serving.prepare import interpreters
from rayllm.serving.prepare.environments import build_environment
from rayllm.serving.secrets import secret
from rayllm.serving.weights.hub_uri import HubUri
from rayllm.serving.weights.script_run import FetchScript
from rayllm.sources import FetchProgress

TOKEN = "HF_TOKEN"  # noqa: S105 - the name of the secret
LIBRARY = "huggingface_hub>=1,<3"
_MODULE = "rayllm.serving.weights.hub_script"
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def hub_script(uri: HubUri, report: FetchProgress, lock: int) -> FetchScript:
    """The script for one repository: with this Python where it has the library, else with an environment, built once.

    Raises:
        RayllmError: it can't be built; with uv's own words and what to do.
    """
    if interpreters.satisfied_here(LIBRARY):
        python = sys.executable
    else:
        wanted = Environment([LIBRARY], imports=["huggingface_hub"])
        python = build_environment("hub", wanted, Device(kind="cpu"), report)
    return FetchScript(
        python=python,
        module=_MODULE,
        environ=_QUIET,
        asked={"repo": uri.repo, "revision": uri.revision, "token": secret(TOKEN)},
        whom=f"the hub for {uri.repo}",
        report=report,
        lock=lock,
    )
