"""Serve's own proxy: the way to the models where no HAProxy can be had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

if TYPE_CHECKING:
    from tests.integration.deployment.conftest import Deployment

SAID: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def token(deployment: Deployment) -> str:
    """The cluster's."""
    (found,) = deployment.rayllm.home.rglob("token")
    return found.read_text().strip()


@pytest.fixture
def base(deployment: Deployment, token: str) -> str:
    """Where Serve's proxy has the deployment's models."""
    url = f"{deployment.rayllm.json('status')['dashboard_url']}/api/serve/applications/"
    details = httpx.get(url, headers={"authorization": f"Bearer {token}"}, trust_env=False).json()
    return f"http://127.0.0.1:{details['http_options']['port']}/it/models"


def test_the_token_opens_every_model(base: str, token: str) -> None:
    """By OpenAI's own client, streaming and not."""
    for model in ("one", "two"):
        with openai.OpenAI(base_url=f"{base}/{model}/v1", api_key=token, max_retries=0, timeout=30) as client:
            assert [entry.id for entry in client.models.list()] == [model]
            whole = client.chat.completions.create(model=model, messages=SAID)
            parts = client.chat.completions.create(model=model, messages=SAID, stream=True)
            assert "".join(p.choices[0].delta.content or "" for p in parts) == whole.choices[0].message.content


def test_nobody_else_gets_in(base: str, token: str) -> None:
    """Every route of the engine, without a key or with a wrong one, is 403; the engine never learns the token."""
    right = {"authorization": f"Bearer {token}"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        paths = client.get(f"{base}/one/openapi.json", headers=right).json()["paths"]
        assert "/metrics" in paths
        wrong = [{}, {"authorization": "Bearer wrong"}, {"x-rayllm-internal-key": "wrong"}, {"x-api-key": token}]
        for path, methods in paths.items():
            for method in methods:
                for headers in wrong:
                    answer = client.request(method, f"{base}/one{path}", headers=headers)
                    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), (method, path)
        assert token not in json.dumps(client.get(f"{base}/one/whoami", headers=right).json())
