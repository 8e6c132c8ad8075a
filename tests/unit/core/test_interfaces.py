"""The network interface of an address, as this machine has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayllm import ClusterError
from rayllm.serving import interfaces
from rayllm.serving.interfaces import interface_of


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.3"])
def test_an_address_of_loopback(address: str) -> None:
    """Its own, and any other of its network."""
    assert interface_of(address) == "lo"


def test_an_ipv6_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel lists them."""
    listed = tmp_path / "if_inet6"
    listed.write_text("fd000000000000000000000000000007 02 40 00 80     eth1\n" + f"{1:032x} 01 80 10 80       lo\n")
    monkeypatch.setattr(interfaces, "_IPV6", listed)
    assert (interface_of("fd00::7"), interface_of("::1")) == ("eth1", "lo")


def test_an_address_of_nobody_here() -> None:
    """Told with what to do about it."""
    with pytest.raises(ClusterError, match=r"has the address 203\.0\.113\.9") as caught:
        interface_of("203.0.113.9")
    assert "--node-ip-address" in str(caught.value.cure)
