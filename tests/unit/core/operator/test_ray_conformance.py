"""The backend `ray`, held to the rules for every backend."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from rayllm.testing import BackendConformance, Platform
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

TOKEN = "t0ken-of-the-cluster"


class SomebodysCluster(Platform):
    """A dashboard that is there, whoever looks."""

    def __init__(self, dashboard: FakeDashboard) -> None:
        self._dashboard = dashboard

    @property
    def options(self) -> Mapping[str, Any]:
        """Where it is, and what opens it."""
        return {"address": self._dashboard.url, "token": TOKEN}

    def made(self, name: str) -> Collection[str]:  # noqa: ARG002
        """Nothing: the backend makes none."""
        return ()

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:  # noqa: ARG002
        """The dashboard is overloaded."""

        def busy(handler: Handler) -> bool:
            return handler.answer(503, "too many requests")

        self._dashboard.disturbances.extend([busy] * 100)
        yield
        self._dashboard.disturbances.clear()

    def secret(self, name: str, secret: str) -> tuple[str, int] | None:  # noqa: ARG002
        """No file on the nodes."""
        return None


@pytest.fixture(scope="module")
def platform() -> Iterator[SomebodysCluster]:
    """A cluster that wants a token."""
    with FakeDashboard(TOKEN) as dashboard:
        yield SomebodysCluster(dashboard)


class TestRay(BackendConformance):
    """Takes a cluster as it is."""

    backend = "ray"
    known_gaps = {  # noqa: RUF012  the kit's class declares it
        "test_secrets_are_laid_on_the_nodes": "Ray's dashboard lays no files: the backend names those that are missing"
    }
