"""Asking an engine's own port: is it up, does it serve the model, what is its load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from rayllm.engines import Command, Gauges
from rayllm.errors import DeploymentError
from rayllm.serving.engine.load import Load, parse_load

FAULTS = (aiohttp.ClientError, asyncio.TimeoutError)
"""What a request to an engine may raise. Python 3.10 knows two TimeoutErrors, and aiohttp raises asyncio's."""


class EngineClient:
    """HTTP to one engine. Open it inside the event loop that uses it."""

    def __init__(self, base_url: str, command: Command, gauges: Gauges | None) -> None:
        self.base_url = base_url
        self._command = command
        self._gauges = gauges
        # No time-out on the whole: a generation may take an hour. The connection is local.
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5), connector=aiohttp.TCPConnector(limit=0)
        )

    async def close(self) -> None:
        """Drop all connections."""
        await self.session.close()

    async def is_ready(self) -> bool:
        """True once the engine's ready path answers 200."""
        try:
            async with self._get(self._command.ready, timeout_s=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except FAULTS:
            return False

    async def served_models(self) -> list[str]:
        """The names that the engine lists under /v1/models.

        Raises:
            aiohttp.ClientError: nobody answers, or not as an OpenAI-compatible server does.
            asyncio.TimeoutError: no answer within 10 seconds.
        """
        async with self._get("/v1/models", timeout_s=10) as answer:
            answer.raise_for_status()
            try:
                return [str(entry["id"]) for entry in (await answer.json())["data"]]
            except (ValueError, KeyError, TypeError) as problem:
                raise aiohttp.ClientPayloadError("/v1/models does not list models") from problem

    async def try_one_token(self, model: str, timeout_s: float) -> None:
        """Make the engine compute one token.

        A refusal in the 400s counts as an answer: embedding models do not generate.

        Raises:
            aiohttp.ClientError: the engine failed or is not there.
            asyncio.TimeoutError: no answer within `timeout_s` seconds.
        """
        body = {"model": model, "prompt": "Hi", "max_tokens": 1, "temperature": 0}
        limit = aiohttp.ClientTimeout(total=timeout_s)
        async with self.session.post(f"{self.base_url}/v1/completions", json=body, timeout=limit) as answer:
            await answer.read()
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                answer.raise_for_status()

    async def change(self, path: str, body: Mapping[str, str], timeout_s: float) -> None:
        """Have the engine change something about itself.

        Raises:
            DeploymentError: it refuses, in its own words.
            aiohttp.ClientError: it failed or is not there.
            asyncio.TimeoutError: no answer within `timeout_s` seconds.
        """
        limit = aiohttp.ClientTimeout(total=timeout_s)
        async with self.session.post(f"{self.base_url}{path}", json=dict(body), timeout=limit) as answer:
            text = await answer.text()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise DeploymentError(f"the engine refuses (HTTP {answer.status})", cause=_said(text), topic="adapters")

    async def load(self) -> Load | None:
        """The engine's own numbers; None if it has none or does not say."""
        if self._gauges is None or self._command.metrics is None:
            return None
        try:
            async with self._get(self._command.metrics, timeout_s=5) as answer:
                answer.raise_for_status()
                text = await answer.text()
        except FAULTS:
            return None
        return parse_load(text, self._gauges)

    def _get(self, path: str, timeout_s: float) -> Any:
        return self.session.get(self.base_url + path, timeout=aiohttp.ClientTimeout(total=timeout_s))


def _said(text: str) -> str:
    """What an engine says is wrong, in any of the shapes they have for it."""
    try:
        told = json.loads(text)
        return str(told.get("error_message") or told["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:500]
