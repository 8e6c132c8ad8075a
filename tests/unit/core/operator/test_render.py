"""The Serve config that is printed for review or for somebody else to apply."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.core.operator.conftest import TOKEN, Open

from rayllm.api import RayLLM
from rayllm.cli import opening
from rayllm.cli.render import render
from rayllm.deployment.proposal import propose
from rayllm.deployment.session import Session


def test_it_is_what_up_puts(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same applications, for a cluster where nobody else has deployed; and rendering asks nobody."""
    session = opened()
    monkeypatch.setattr(session.backend, "find", None)
    config = RayLLM(session).render()
    apps = propose(session, None).apps
    small, large, gateway = config["applications"]
    assert [small, large] == [apps["small"], apps["large"]]
    assert gateway["args"] == {**apps["rayllm"]["args"], "serve_port": config["http_options"]["port"]}
    assert config["http_options"]["host"] == "127.0.0.1"


def test_as_yaml_and_as_json(opened: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same document; the YAML tells where the code comes from."""
    session: Session = opened()
    monkeypatch.setattr(opening, "open_file", lambda *_, **__: RayLLM(session))
    render(Path("rayllm.yaml"))
    text = capsys.readouterr().out
    render(Path("rayllm.yaml"), json=True)
    assert yaml.safe_load(text) == json.loads(capsys.readouterr().out) == RayLLM(session).render()
    notes = [line for line in text.splitlines() if line.startswith("#")]
    assert any("gcs://rayllm-" in line for line in notes)
    assert TOKEN not in text


def test_memory_is_a_number_in_yaml(
    opened: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However the file writes it."""
    session = opened("{name: demo, models: {m: {engine: toy, source: file:/m, resources: {memory: 8GiB}}}}")
    monkeypatch.setattr(opening, "open_file", lambda *_, **__: RayLLM(session))
    render(Path("rayllm.yaml"))
    model = yaml.safe_load(capsys.readouterr().out)["applications"][0]
    assert model["args"]["memory"] == 8 * 2**30
