"""The backend `ray`: a second deployment as a guest on a cluster that runs another, by its dashboard's address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, free_port

if TYPE_CHECKING:
    from tests.integration.deployment.conftest import Deployment


@dataclass
class Guest(Rayllm):
    """A command line that has the cluster's token in a variable."""

    token: str

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command."""
        return {**super().env, "GUEST_TOKEN": self.token}


@pytest.fixture
def guest(deployment: Deployment, tmp_path: Path) -> Guest:
    """Another file, in another folder, for the same cluster."""
    (token,) = deployment.rayllm.home.rglob("token")
    made = Guest(tmp_path, deployment.rayllm.home, token.read_text().strip())
    address = deployment.rayllm.json("status")["dashboard_url"]
    content = {
        "name": "guest",
        "cluster": {"backend": "ray", "options": {"address": address, "token": "${env:GUEST_TOKEN}"}},
        "models": {
            "one": {"engine": "fake", "source": "/", "resources": {"cpus": 0.25}, "options": {"answer": "guest"}}
        },
        "gateway": {"port": free_port()},
    }
    made.write(yaml.safe_dump(content))
    return made


def test_a_guest_comes_and_goes(deployment: Deployment, guest: Guest) -> None:
    """Both serve a model of the same name; the host's engine is never restarted; what goes is the guest alone."""
    host = deployment.engine_pid("one")
    guest("up")
    url = guest.json("status")["gateway_url"]
    asked = {"model": "one", "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked, trust_env=False)
    assert "guest" in answer.json()["choices"][0]["message"]["content"]
    assert "No changes" in guest("plan")
    assert "No changes" in deployment.rayllm("plan")
    assert "guest is down" in guest("down", "--yes")
    assert deployment.engine_pid("one") == host
    assert "No changes" in deployment.rayllm("plan")
    assert guest.json("status")["models"] == {}


def test_a_wrong_token_is_told_without_being_shown(guest: Guest) -> None:
    """The cluster stays closed, and the token out of the text."""
    guest.token = "wrong-token-of-a-stranger"
    said = guest("up", status=1)
    assert "refused the cluster's token" in said
    assert "wrong-token" not in said
