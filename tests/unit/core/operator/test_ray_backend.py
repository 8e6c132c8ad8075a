"""The backend `ray`: whose token it shows, and which clusters it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.unit.core.operator.conftest import TOKEN, Shown

from rayllm import ClusterSpec
from rayllm.cluster.connection import TokenError, UnreachableError
from rayllm.cluster.ray_backend import RayBackend, RayOptions
from rayllm.errors import ClusterError, InputError
from rayllm.testing.fake_dashboard import FakeDashboard

SPEC = ClusterSpec(name="demo", gateway_host="127.0.0.1", gateway_port=8000)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of this machine's own."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "auth_token"))


def backend(dashboard: FakeDashboard, token: str | None = TOKEN, *, allow_open: bool = False) -> RayBackend:
    """At that dashboard."""
    return RayBackend(RayOptions(address=f"{dashboard.url}/", token=token, allow_open=allow_open))


def test_it_takes_a_cluster_that_is_closed_to_strangers(dashboard: FakeDashboard, shown: Shown) -> None:
    """With the token, and where a person expects it."""
    cluster = backend(dashboard).ensure(SPEC, shown)
    assert (cluster.name, cluster.dashboard_url, cluster.gateway_url, cluster.token) == (
        "demo",
        dashboard.url,
        "",
        TOKEN,
    )
    assert shown.lines == [f"· cluster: asking {dashboard.url}", f"✔ cluster: Ray 2.60.0 at {dashboard.url}"]
    assert backend(dashboard).find("demo") == cluster
    assert TOKEN not in repr(cluster)


def test_it_lays_no_secrets(dashboard: FakeDashboard, shown: Shown) -> None:
    """It says so, by name."""
    spec = replace(SPEC, secrets={"HF_TOKEN": "hf_secret"})
    backend(dashboard).ensure(spec, shown)
    assert "✔ secrets: HF_TOKEN: this backend lays no files, put each on the nodes by hand" in shown.lines
    assert "hf_secret" not in f"{shown.lines}{spec}"


@pytest.mark.parametrize("version", ["2.9.3", "2.59.1", "3.0.0.dev0", ""])
def test_it_refuses_another_ray(dashboard: FakeDashboard, shown: Shown, version: str) -> None:
    """Before anything else, with both versions, and from every command."""
    dashboard.ray_version = version
    asks: list[Callable[[], object]] = [
        lambda: backend(dashboard).ensure(SPEC, shown),
        lambda: backend(dashboard).find("demo"),
    ]
    for ask in asks:
        with pytest.raises(ClusterError) as caught:
            ask()
        assert str(caught.value) == (
            f"the Ray cluster at {dashboard.url} runs Ray {version or 'of an unknown version'};"
            " RayLLM works with 2.60 or newer, below 3\n"
            '  do     install it on every node of the cluster: pip install "ray[serve]>=2.60,<3"\n'
            "  more   rayllm explain ray-version"
        )
    assert dashboard.asked == ["GET /api/version"] * 2


@pytest.mark.parametrize("version", ["2.60.0", "2.60.1rc0", "2.75.0"])
def test_it_takes_a_ray_that_will_do(dashboard: FakeDashboard, shown: Shown, version: str) -> None:
    """That of the tests, and what came after it."""
    dashboard.ray_version = version
    assert backend(dashboard).ensure(SPEC, shown)


def test_it_refuses_an_open_cluster(dashboard: FakeDashboard, shown: Shown) -> None:
    """Unless it is asked for by name."""
    dashboard.token = None
    with pytest.raises(InputError) as caught:
        backend(dashboard).ensure(SPEC, shown)
    assert str(caught.value) == (
        f"the Ray cluster at {dashboard.url} asks for no token: whoever reaches it runs code on it\n"
        "  do     start it with RAY_AUTH_MODE=token, or accept it with cluster.options.allow_open: true\n"
        "  more   rayllm explain open-cluster"
    )
    assert backend(dashboard, allow_open=True).ensure(SPEC, shown).dashboard_url == dashboard.url


def test_a_failing_dashboard_does_not_count_as_closed(dashboard: FakeDashboard, shown: Shown) -> None:
    """Only a refusal proves that strangers are refused."""
    dashboard.token = None
    dashboard.disturbances.append(lambda _: False)
    dashboard.disturbances.append(lambda handler: handler.answer(503, "busy"))
    with pytest.raises(UnreachableError):
        backend(dashboard).ensure(SPEC, shown)


def test_a_wrong_token(dashboard: FakeDashboard, shown: Shown) -> None:
    """The dashboard's refusal, at once."""
    wrong = backend(dashboard, "wrong")
    with pytest.raises(TokenError, match="refused the cluster's token"):
        wrong.ensure(SPEC, shown)
    with pytest.raises(TokenError, match="refused the cluster's token"):
        wrong.find("demo")


def test_where_the_token_comes_from(dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file's option, else the variable, else Ray's own file; a line break at the end is nobody's intention."""

    def token(option: str | None = None) -> str | None:
        return backend(dashboard, option)._token()

    assert token() is None
    (tmp_path / "auth_token").write_text("from-file\n")
    assert token() == "from-file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable\n")
    assert token() == "from-variable"
    assert token("from-option\n") == "from-option"


def test_a_token_that_cannot_be_read(dashboard: FakeDashboard, tmp_path: Path) -> None:
    """Told with its path."""
    (tmp_path / "auth_token").mkdir()
    with pytest.raises(InputError) as caught:
        backend(dashboard, None).find("demo")
    assert (caught.value.message, caught.value.cause) == (
        f"Ray's token can't be read from {tmp_path / 'auth_token'}",
        "Is a directory",
    )


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "http://me:secret@ray:8265", "http://ray: 8265"])
def test_an_address_that_is_none(address: str) -> None:
    """Found before anything starts."""
    with pytest.raises(ValidationError, match="http://HOST:PORT expected, without a user's name"):
        RayOptions(address=address)


def test_it_removes_nothing(dashboard: FakeDashboard, shown: Shown) -> None:
    """The cluster was there before."""
    backend(dashboard).destroy("demo", shown)
    assert dashboard.asked == []
