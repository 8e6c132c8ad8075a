"""What a file says in vain is told where a person checks it: where the gateway listens, if the platform decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayllm.cli.validate import validate

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker

FILE = "name: demo\nmodels: {m: {engine: vllm, source: /m}}\n"
HOST, PORT = "host: 127.0.0.1", "port: 8123"
WHO = "the backend local gives the endpoint its address"


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        (f"{HOST}, {PORT}", f"gateway.host and gateway.port say nothing: {WHO}\n"),
        (PORT, f"gateway.port says nothing: {WHO}\n"),
        ("max_body: 1MiB", ""),
    ],
)
def test_validate_tells_it(
    check: Checker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gateway: str, said: str
) -> None:
    """As a note: the file is valid. Where the backend gives no address, there is nothing to tell."""
    monkeypatch.setattr("rayllm.cli.discovery.discover", lambda _: check.plugins)
    local = check.plugins.backends["local"]
    for endpoint, notes in ((lambda *_: "https://demo.example.com", said), (None, "")):
        check.plugins.backends["local"] = replace(local, endpoint=endpoint)
        check.right(f"{FILE}gateway: {{{gateway}}}\n")
        validate(Path("f"))
        assert capsys.readouterr() == ("f is valid: demo on local, 1 model\n", notes)
