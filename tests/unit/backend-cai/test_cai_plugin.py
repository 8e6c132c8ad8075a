"""The backend as RayLLM finds it, and what `doctor` asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cai import Cai

from rayllm import ClusterBackend
from rayllm.plugins import Plugins
from rayllm_backend_cai.checks import checks
from rayllm_backend_cai.options import CaiOptions


def test_it_is_found() -> None:
    """By its entry point; opening it asks nobody, not even where the workspace is."""
    backend = Plugins.discover().backends["cai"]
    assert set(backend.capabilities) == {"create", "nodes", "prepares"}
    assert isinstance(backend.open(CaiOptions()), ClusterBackend)


def test_where_the_endpoint_will_be() -> None:
    """At the subdomain, else at the deployment's name; nobody is asked."""
    endpoint = Plugins.discover().backends["cai"].endpoint
    assert endpoint
    options = CaiOptions(host="https://ml.example.com", key="k" * 40)
    assert endpoint(options, "team") == "https://team.ml.example.com"
    assert endpoint(options.model_copy(update={"subdomain": "llm"}), "team") == "https://llm.ml.example.com"


def test_a_workspace_that_is_well(cai: Cai) -> None:
    """Its address, the key's user, the project; with few requests that change nothing."""
    options = CaiOptions(host=cai.fake.url, key=cai.fake.key, project="llm")
    found = list(checks(options))
    assert [(one.name, one.state) for one in found] == [("workspace", "ok"), ("project", "ok")]
    assert "u1" in found[0].detail
    assert cai.project in found[1].detail
    assert len(cai.fake.calls) == 3
    missing = list(checks(options.model_copy(update={"project": "none"})))
    assert "makes it" in missing[1].detail
    unnamed = list(checks(options.model_copy(update={"project": ""})))
    assert "the deployment's name" in unnamed[1].detail


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": "wrong"}, "malformed apikey"),
        ({"host": "http://localhost:9"}, "did not answer"),
        ({"host": "https://localhost:9", "ca": Path("/none.pem")}, "can't be read"),
    ],
)
def test_a_workspace_that_is_not(cai: Cai, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str) -> None:
    """With cause and cure, never with the key."""
    monkeypatch.setattr("rayllm_backend_cai.api.retries.ATTEMPTS", 1)
    told: dict[str, Any] = {"host": cai.fake.url, "key": cai.fake.key, **options}
    (found,) = checks(CaiOptions(**told))
    assert found.state == "fail"
    assert said in found.detail
    assert found.cure
    assert cai.fake.key not in str(found)


def test_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to set."""
    for name in ("CML_HOST", "CDSW_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    (found,) = checks(CaiOptions())
    assert "CML_HOST" in found.cure
