"""HAProxy's configuration as text; what HAProxy makes of it is in the integration tests."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.config import files, render
from rayllm.serving.haproxy.models import DOORS_FILE
from rayllm.serving.haproxy.places import CONFIG_FILE
from rayllm.serving.haproxy.view import GatewayView, ModelRoute, Upstream

ONE = Upstream("demo--a#engine#x1", "127.0.0.1", 20001)
TWO = Upstream("demo--a#engine#x2", "fd00::2", 20002)
VIEW = GatewayView(
    "demo", "127.0.0.1", 8000, 8001, (ModelRoute("a", "key-a", (ONE, TWO)), ModelRoute("b", "key-b")), Path("/run/x")
)


def test_the_same_view_gives_the_same_text() -> None:
    """Whatever the order in which models and replicas are known."""
    a, b = VIEW.routes
    other = replace(VIEW, routes=(b, replace(a, upstreams=(TWO, ONE))))
    assert (render(other), files(other)) == (render(VIEW), files(VIEW))


def test_replicas_become_servers() -> None:
    """Their names lose what HAProxy can't take, IPv6 addresses get their brackets."""
    text = render(VIEW)
    assert "    server demo--a-engine-x1 127.0.0.1:20001 id " in text
    assert "    server demo--a-engine-x2 [fd00::2]:20002 id " in text


def test_a_models_key_stands_in_one_file_alone() -> None:
    """The configuration may be quoted in a log."""
    written = {**files(VIEW), CONFIG_FILE: render(VIEW)}
    assert [name for name, text in written.items() if "key-a" in text] == [DOORS_FILE]
    assert written[DOORS_FILE] == "a key-a\nb key-b\n"


def test_a_replica_has_the_same_number_whatever_else_there_is() -> None:
    """Consistent hashing goes by it."""
    a = VIEW.routes[0]
    alone = re.findall(
        r"server demo--a-engine-x2 .* id (\d+)", render(replace(VIEW, routes=(replace(a, upstreams=(TWO,)),)))
    )
    assert alone == re.findall(r"server demo--a-engine-x2 .* id (\d+)", render(VIEW))
    assert len(alone) == 1


def test_checks_grow_slower_than_replicas() -> None:
    """Whatever their number, there are at most 150 in a second."""
    for count in (1, 100, 1000, 5000):
        upstreams = tuple(Upstream(f"r{n}", "127.0.0.1", 20000 + n) for n in range(count))
        pauses = set(re.findall(r" inter (\d+)s", render(replace(VIEW, routes=(ModelRoute("a", "k", upstreams),)))))
        assert len(pauses) == 1
        assert count / int(pauses.pop()) <= 150


def test_the_folder_does_not_matter() -> None:
    """Names are relative to it, so a long one can't break a socket."""
    assert "/run/x" not in render(VIEW)


def test_an_error_has_openais_shape() -> None:
    """Quoted for HAProxy, with an apostrophe that ends no argument."""
    error = OpenAiError(503, "it's gone", "gone", retry_after_s=5)
    assert json.loads(error.body())["error"]["type"] == "server_error"
    assert error.answer().startswith("status 503 content-type application/json string '{")
    assert "it'\\''s gone" in error.answer()
    assert error.answer().endswith("' hdr retry-after 5")


@pytest.mark.parametrize("text", ["", "a b", "a\nglobal", "a#b", "a'b", 'a"b', "${HOME}", "%[env(HOME)]"])
def test_nothing_can_be_smuggled_in(text: str) -> None:
    """Names, hosts and keys that mean something to HAProxy are refused; a key is not repeated in the error."""
    for build in (
        lambda: ModelRoute(text, "k"),
        lambda: Upstream("r", text, 1),
        lambda: GatewayView(text, "127.0.0.1", 1, 1, (), Path()),
        lambda: GatewayView("demo", text, 1, 1, (), Path()),
    ):
        with pytest.raises(ValueError, match="can't be a"):
            build()
    with pytest.raises(ValueError, match="characters that a header can't hold") as caught:
        ModelRoute("a", f"k{text} ")
    assert f"k{text} " not in str(caught.value)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_a_port(port: int) -> None:
    """The others are refused before HAProxy sees them."""
    with pytest.raises(ValueError, match="can't be a port"):
        Upstream("r", "127.0.0.1", port)
