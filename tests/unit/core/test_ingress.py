"""What a platform tells a gateway, and what of it stands in HAProxy's configuration."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

import pytest

from rayllm.cluster import jobs_api, serve_api
from rayllm.engines import Command
from rayllm.errors import InputError
from rayllm.serving.engine.environ import engine_env
from rayllm.serving.gateway_view import address_of
from rayllm.serving.haproxy import door_config, ingress
from rayllm.serving.haproxy.config import render
from rayllm.serving.haproxy.ingress import Ingress
from rayllm.serving.haproxy.port_claim import listeners, listens, sockets_of
from rayllm.serving.haproxy.view import GatewayView
from rayllm.serving.spec import GatewaySpec

PLACE = ("127.0.0.1", 8100)
TOLD = Ingress(listen=PLACE, dashboard=("::1", 8265))
VIEW = GatewayView("demo", *PLACE, 8001, (), Path("/run/x"))


def test_what_is_told() -> None:
    """Either variable alone, both, or none."""
    both = {"RAYLLM_GATEWAY_LISTEN": "127.0.0.1:8100", "RAYLLM_DASHBOARD": "[::1]:8265"}
    assert Ingress.told(both) == TOLD
    assert Ingress.told({}) == Ingress.told({"RAYLLM_GATEWAY_LISTEN": ""}) == Ingress()


@pytest.mark.parametrize("told", ["8100", "localhost:", "localhost:http", "127.0.0.1:0", "a b:80", ":80"])
def test_what_is_no_address(told: str) -> None:
    """The variable is named, and how it is written."""
    with pytest.raises(InputError, match=r"^RAYLLM_DASHBOARD=") as caught:
        Ingress.told({"RAYLLM_DASHBOARD": told})
    assert "RAYLLM_DASHBOARD=127.0.0.1:8100" in str(caught.value)


def test_the_platforms_word_counts() -> None:
    """Where it gave none, the file's."""
    spec = GatewaySpec(deployment="demo", host="0.0.0.0", port=8000, serve_port=8001)  # noqa: S104
    assert address_of(spec, TOLD) == PLACE
    assert address_of(spec, Ingress()) == ("0.0.0.0", 8000)  # noqa: S104


def test_models_pay_nothing_for_it() -> None:
    """All there is more before a model is chosen is one condition, which is asked where the admin API's is."""
    before, after = render(VIEW).splitlines(), render(replace(VIEW, ingress=TOLD)).splitlines()
    changes = [line for line in unified_diff(before, after, lineterm="", n=0) if not line.startswith(("---", "+++"))]
    assert not [line for line in changes if line.startswith("-")]
    added = [line[1:] for line in changes if line.startswith("+")]
    backend = [line for line in ingress.backend(("::1", 8265)).splitlines() if line]
    assert [line for line in added if line and line not in backend] == [f"    {ingress.route()}"]
    assert after[after.index(f"    {ingress.route()}") + 1] == "    use_backend rayllm-admin if admin"
    assert "    server dashboard [::1]:8265" in added


def test_the_door_says_the_same_of_ray() -> None:
    """Whoever answers: the rules are those of the gateway."""
    lines = door_config.render(PLACE, ("::1", 8265)).splitlines()
    assert all(f"    {rule}" in lines for rule in ingress.guard())
    assert "    bind 127.0.0.1:8100" in lines
    with pytest.raises(ValueError, match="port"):
        door_config.render(("127.0.0.1", 0), PLACE)


def test_all_that_an_operator_asks_is_open() -> None:
    """Each path of the clients' code."""
    open_paths = "\n".join(ingress.guard())
    for path in (serve_api.APPLICATIONS, "/api/version", serve_api._STREAM, "/api/v0/logs/file", "/api/v0/nodes"):
        assert f"{ingress.PREFIX}{path}" in open_paths
    asked = {word for module in (serve_api, jobs_api) for word in _paths(Path(module.__file__ or ""))}
    assert len(asked) >= 8
    known = [*ingress._PATHS, *ingress._BELOW]
    assert not [path for path in asked if not any(path == each or path.startswith(each) for each in known)]


def _paths(file: Path) -> Iterator[str]:
    """Paths that stand in the code of a client."""
    for line in file.read_text(encoding="utf-8").splitlines():
        for word in line.split('"'):
            if word.startswith("/") and len(word) > 1:
                yield word.partition("{")[0]


def test_engines_know_the_nodes_own_folder() -> None:
    """As they know RayLLM's home."""
    environ = {"RAYLLM_HOME": "/h", "RAYLLM_RUN": "/r", "RAYLLM_DASHBOARD": "127.0.0.1:1"}
    kept = engine_env(environ, Command("x"), [])
    assert {name for name in kept if name.startswith("RAYLLM_")} == {"RAYLLM_HOME", "RAYLLM_RUN"}


def test_who_listens_where() -> None:
    """The address counts, not the port alone; one that listens on all addresses listens on each."""
    with socket.create_server(("127.0.4.1", 0)) as one:
        port = one.getsockname()[1]
        assert listeners("127.0.4.1", port) == {str(os.fstat(one.fileno()).st_ino)} <= sockets_of(os.getpid())
        assert listeners("127.0.4.2", port) == set()
        assert listens(os.getpid(), "0.0.0.0", port)  # noqa: S104
    assert listeners("127.0.4.1", port) == set()
    with socket.create_server(("0.0.0.0", port)):  # noqa: S104
        assert len(listeners("127.0.4.1", port)) == 1


def test_who_listens_by_ipv6() -> None:
    """Also for IPv4 addresses that are written as such."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
        port = one.getsockname()[1]
        assert len(listeners("::1", port)) == 1
        assert listeners("127.0.0.1", port) == set()
    with socket.socket(socket.AF_INET6) as mapped:
        mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        mapped.bind(("::ffff:127.0.0.1", port))
        mapped.listen()
        assert len(listeners("127.0.0.1", port)) == 1
