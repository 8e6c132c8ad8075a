"""HAProxy's configuration as text; what HAProxy makes of it is in the integration tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rayllm.serving.haproxy.answers import OpenAiError
from rayllm.serving.haproxy.config import files, render
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
    assert "    server demo--a-engine-x1 127.0.0.1:20001\n" in text
    assert "    server demo--a-engine-x2 [fd00::2]:20002\n" in text


def test_a_key_stands_in_its_own_backend_alone() -> None:
    """And in none of the files beside the configuration."""
    sections = render(VIEW).split("\n\n")
    assert [section.split("\n")[0] for section in sections if "key-a" in section] == ["backend serve:a"]
    assert not any("key-" in text for text in files(VIEW).values())


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
