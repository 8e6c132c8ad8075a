"""A stand-in workspace with a project, and the client that opens it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cai import SERVER, WAIT, Cai

from rayllm_backend_cai.api import CaiClient, Call
from rayllm_backend_cai.testing import FakeCai


@pytest.fixture
def cai() -> Iterator[Cai]:
    """Everything goes well in it, at once, until a test says otherwise."""
    pauses: list[float] = []
    calls: list[Call] = []
    with FakeCai() as fake, CaiClient(fake.workspace, on_call=calls.append, sleep=pauses.append) as client:
        project = fake.add_project("llm", {"server.py": SERVER, "wait.py": WAIT})
        yield Cai(fake, client, project, pauses, calls)
