"""`CAIClusterManager` of the earlier tool on the backend itself; its nodes run a stub instead of Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cai_cluster import Operators, operators

from ray_serve_cai import CAIClusterManager
from ray_serve_cai.places import place_of
from rayllm import Command, Engine, Environment, Options
from rayllm.plugins import Plugins
from rayllm_backend_cai import rayllm_backends

pytestmark = pytest.mark.filterwarnings("ignore:ray_serve_cai:DeprecationWarning")


@pytest.fixture
def there() -> Iterator[Operators]:
    """A workspace with one project."""
    with operators() as found:
        yield found


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend, and any engine: none is started."""
    found = Plugins.discover()
    found.backends["cai"] = next(iter(rayllm_backends()))
    found.engines["toy"] = Engine(
        name="toy", summary="", options=Options, environment=Environment(()), commands=lambda _: [Command()]
    )
    monkeypatch.setattr(Plugins, "discover", lambda: found)


def manager_of(there: Operators) -> CAIClusterManager:
    """One that knows of no start."""
    return CAIClusterManager(cml_host=there.fake.url, cml_api_key=there.fake.key, project_id=there.project)


def test_a_cluster_from_start_to_stop(there: Operators) -> None:
    """The calls of the old tool's guide; a manager that made nothing sees and ends the cluster."""
    info = manager_of(there).start_cluster(num_workers=2, cpu=1, memory=2)
    assert (info["status"], info["num_workers"]) == ("running", 2)
    assert there.made("ray-cluster") == [" running", "-workers-1 running", "-workers-2 running", "folder"]
    again = manager_of(there).start_cluster(num_workers=2, cpu=1, memory=2)
    assert again == info
    manager = manager_of(there)
    status = manager.get_status()
    assert (status["running"], status["total_nodes"]) == (True, 3)
    assert status["head"]["id"] == info["head_app_id"]
    place = place_of(info["head_address"])
    there.up("ray-cluster", **{key: value for key, value in place.options.items() if key not in {"host", "key"}})
    assert manager_of(there).get_status() == status
    stopped = manager.stop_cluster()
    assert (stopped["stopped"], stopped["errors"], len(stopped["stopped_apps"])) == (True, None, 3)
    assert there.made("ray-cluster") == []
    assert manager.get_status() == {"running": False, "status": "not_started"}
