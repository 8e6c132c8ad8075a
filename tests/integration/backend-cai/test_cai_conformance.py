"""The backend `cai` against the rules for backends, in a stand-in workspace whose nodes are stubs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cai_cluster import Operators, operators

from rayllm.testing import BackendConformance, Platform
from rayllm_backend_cai import shared
from rayllm_backend_cai.testing import Fault

QUOTA = "out of quota: CPU request limit reached"
SMALL = {"cpus": 1, "memory": "2GiB"}


class Workspace(Platform):
    """A workspace with one project, in which clusters come and go."""

    def __init__(self, operators: Operators) -> None:
        self._operators = operators

    @property
    def options(self) -> Mapping[str, Any]:
        """A head and a worker."""
        fake = self._operators.fake
        return {"host": fake.url, "key": fake.key, "project": "llm", "workers": {"w": SMALL}}

    @property
    def other_options(self) -> Mapping[str, Any]:
        """One worker more."""
        return {**self.options, "workers": {"w": {**SMALL, "count": 2}}}

    def made(self, name: str) -> Collection[str]:
        """Applications by their state, jobs, the folder."""
        return self._operators.made(name)

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:  # noqa: ARG002  the others run already
        """There is no room for any application."""
        fake = self._operators.fake
        fake.faults.add(Fault(method="POST", path="/applications$", times=None, status=409, code=10, message=QUOTA))
        yield
        fake.faults.clear()

    def secret(self, name: str, secret: str) -> tuple[str, int] | None:  # noqa: ARG002  one for the project
        """On the project's disk: the platform has no modes of files there; who is in the project may read them."""
        file = self._operators.folder / shared.SECRETS / secret
        return (file.read_text(), 0o600) if file.exists() else None


class TestCai(BackendConformance):
    """Every rule."""

    backend = "cai"
    slow_start = True

    @pytest.fixture(scope="class")
    @classmethod
    def platform(cls) -> Iterator[Workspace]:
        """A workspace where all takes no time."""
        with operators() as there:
            yield Workspace(there)
