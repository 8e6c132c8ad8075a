"""A stand-in workspace with a project, and the client that opens it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cai import Cai, opened


@pytest.fixture
def cai() -> Iterator[Cai]:
    """One for each test."""
    with opened() as made:
        yield made


@pytest.fixture(scope="module")
def calm() -> Iterator[Cai]:
    """One for all tests of a file that leave it as it is."""
    with opened() as made:
        yield made
