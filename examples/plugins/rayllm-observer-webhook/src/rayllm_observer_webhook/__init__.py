"""RayLLM tells a web server what happens: each event is a POST with JSON."""

from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

from rayllm import Event, InputError, hookimpl

VARIABLE = "RAYLLM_WEBHOOK_URL"
TIMEOUT_S = 3.0
"""Seconds for an answer: less than what a command waits at its end."""


@hookimpl
def rayllm_event(event: Event) -> None:
    """Send one event; nothing if no URL is set."""
    url = os.environ.get(VARIABLE, "").strip()
    if not url:
        return
    # An address may hold a secret, so that no error shows it.
    if urlsplit(url).scheme not in {"http", "https"}:
        raise InputError(f"${VARIABLE} does not begin with http:// or https://")
    from urllib.error import HTTPError  # only who has set a URL waits for these imports
    from urllib.request import Request, urlopen

    body = json.dumps(event.to_json()).encode()
    request = Request(url, body, {"content-type": "application/json"})  # noqa: S310  checked above
    try:
        urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310
    except HTTPError as error:
        error.close()
        raise
