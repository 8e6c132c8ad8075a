"""The example of a pipeline that deploys to Cloudera AI."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from rayllm.cli.app import app

EXAMPLE = Path(__file__).parents[3] / "examples/cai/github-workflow.yaml"


def test_the_workflow_calls_commands_that_there_are() -> None:
    """It is valid, takes its secrets from secrets alone, and plans and deploys at different events."""
    text = EXAMPLE.read_text()
    told: dict[Any, Any] = yaml.safe_load(text)
    assert told[True].keys() == {"pull_request", "push"}  # YAML 1.1 reads `on` so
    lines = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in told["jobs"].items()}
    assert lines["plan"] == ["pip install $PACKAGES", "rayllm validate", "rayllm plan"]
    assert lines["up"] == ["pip install $PACKAGES", "rayllm up --yes", "rayllm status"]
    command = get_command(app)
    for line in (line for run in lines.values() for line in run if line.startswith("rayllm ")):
        name, *arguments = shlex.split(line)[1:]
        command.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    secret = {name for name in told["env"] if "KEY" in name}
    assert all(told["env"][name] == f"${{{{ secrets.{name} }}}}" for name in secret)
    assert "rayllm-backend-cai" in told["env"]["PACKAGES"]
