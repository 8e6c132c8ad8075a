"""Which network interface an address of this machine is on; the libraries of GPUs and tensors ask for its name."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Address, ip_address
from pathlib import Path

from rayllm.errors import ClusterError

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
"""Of Linux' netdevice(7)."""
_IPV6 = Path("/proc/net/if_inet6")


def interface_of(address: str) -> str:
    """Name of the interface that has `address`; where none says so, of the first that is in its network.

    Raises:
        ClusterError: there is none.
    """
    wanted = ip_address(address)
    if isinstance(wanted, IPv6Address):
        found = [name for number, name in _ipv6() if number == int(wanted)]
    else:
        there = list(_ipv4())
        found = [name for name, own in there if own.ip == wanted]
        found += [name for name, own in there if wanted in own.network]
    if not found:
        raise ClusterError(
            f"no network interface of {socket.gethostname()} has the address {address}, by which Ray knows this node",
            cure="start Ray there with the address of one of its interfaces: --node-ip-address",
        )
    return found[0]


def _ipv4() -> Iterator[tuple[str, IPv4Interface]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                parts = [
                    socket.inet_ntoa(fcntl.ioctl(probe, what, request)[20:24])
                    for what in (_SIOCGIFADDR, _SIOCGIFNETMASK)
                ]
            except OSError:
                continue  # it has no IPv4 address
            yield name, IPv4Interface("/".join(parts))


def _ipv6() -> Iterator[tuple[int, str]]:
    for line in _IPV6.read_text().splitlines():
        number, *_, name = line.split()
        yield int(number, 16), name
