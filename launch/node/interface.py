"""The network interface by which the nodes of a job reach one another, and the first node's address on it.

A host's own name may stand for 127.0.1.1, as Debian has it, which leads each node to itself; on a node with
several networks it may be any; other nodes may not know it at all. So the first node finds an address of its
own, by what Slurm knows and by routes, and tells it to the others; each of them takes the interface by which
the kernel sends there. Gloo would listen at the address that the host's own name stands for.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import socket
from collections.abc import Iterator, Sequence

from launch.errors import LaunchError
from launch.scheduler.node_address import node_addresses

LENGTHS = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}  # offset in sockaddr, bytes; <netinet/in.h>
ANY_PORT = 9  # nothing is sent
OUTSIDE = ("192.0.2.1", "2001:db8::1")  # addresses of no host: the default route leads there (RFC 5737, 3849)


class _Entry(ctypes.Structure):
    """struct ifaddrs of <ifaddrs.h>, as far as it is needed."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def address_of_first(hosts: Sequence[str], interface: str | None = None) -> str:
    """Return the address of this node, the first of its job, under which the others reach it.

    What Slurm names, what its own name stands for, the way to the second node, the default route: the first
    of them that is an address of an interface here, and no loopback. Where none is, any that is, be it a
    bridge for containers; its name, should there be none.

    Args:
        hosts: the nodes of the job, this one first; at least two.
        interface: the one to meet on; None: any.

    Raises:
        LaunchError: there is no such interface here, or it has no address.
    """
    if interface is not None:
        return _address_on(interface)
    own = sorted((one for _, one in interfaces() if _leads_out(one)), key=lambda one: ":" in one)
    found = next((address for address in _candidates(hosts) if address in own), None)
    return found or next(iter(own), hosts[0])


def interface_to(first: str, hosts: Sequence[str], interface: str | None = None) -> str | None:
    """Return the interface of this node that leads to the others; None if there is but a loopback.

    Args:
        first: the first node's address.
        hosts: the nodes of the job.
        interface: the one to meet on; None: any.

    Raises:
        LaunchError: there is no such interface here; the first node's name is unknown here, or no way leads
            there.
    """
    if interface is not None:
        _address_on(interface)
        return interface
    try:
        address = own_address(first)
    except OSError as error:
        raise LaunchError(f"can't reach {hosts[0]} ({first}): {error.strerror}") from None
    name = next((name for name, one in interfaces() if one == address), None)
    if name == "lo":  # this is the first node
        name = next((name for name, one in interfaces() if one == first), None)
    return None if name == "lo" else name


def _address_on(interface: str) -> str:
    there = list(interfaces())
    found = [address for name, address in there if name == interface and _leads_out(address)]
    if not found:
        names = ", ".join(dict.fromkeys(name for name, _ in there))
        raise LaunchError(
            f"cluster.interface={interface}: no interface of {socket.gethostname()} that others can reach "
            f"has this name (here are {names})"
        )
    return min(found, key=lambda address: ":" in address)  # IPv4, where it has both


def _leads_out(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local)


def _candidates(hosts: Sequence[str]) -> Iterator[str]:
    for name in (*node_addresses(hosts[0]), hosts[0]):
        yield from _resolved(name)
    for name in (hosts[1], *OUTSIDE):
        with contextlib.suppress(OSError):  # unknown here, or no way leads there
            yield own_address(name)


def _resolved(name: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, ANY_PORT, type=socket.SOCK_DGRAM)]
    except OSError:
        return []


def own_address(host: str) -> str:
    """Return this node's address on the way to a host.

    Raises:
        OSError: its name is unknown here, or no way leads there.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, ANY_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def interfaces() -> Iterator[tuple[str, str]]:
    """Yield the name of an interface and an address of it, for each address of this machine.

    Raises:
        OSError: the kernel doesn't tell.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_Entry)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        raise OSError(ctypes.get_errno(), "getifaddrs failed")
    try:
        entry = first
        while entry:
            found = entry.contents
            if found.address:
                family = ctypes.c_ushort.from_address(found.address).value
                if family in LENGTHS:
                    offset, length = LENGTHS[socket.AddressFamily(family)]
                    data = ctypes.string_at(found.address + offset, length)
                    yield found.name.decode(), socket.inet_ntop(family, data)
            entry = found.next
    finally:
        libc.freeifaddrs(first)
