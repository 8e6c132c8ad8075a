"""The backend `disk`, held to the kit: run by the tests of the kit, with a backend that breaks a rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.core.testing.disk_platform import TOKEN, DiskPlatform

from rayllm.testing import BackendConformance
from rayllm.testing.fake_dashboard import FakeDashboard


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskPlatform]:
    """A new folder, and a dashboard that every cluster shares."""
    with FakeDashboard(TOKEN) as dashboard:
        yield DiskPlatform(tmp_path_factory.mktemp("disk"), dashboard.url)


class TestDisk(BackendConformance):
    """Whatever backend of that name can be imported."""

    backend = "disk"
    platform_calls = ("made_up_disk.call",)
