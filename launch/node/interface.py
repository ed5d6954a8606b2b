"""The network interface by which the nodes of a job reach one another.

Gloo listens at the address that a host's own name stands for, and tells the others that one. On Debian that
is often 127.0.1.1, which leads each of them to itself; on a node with several networks it may be any. Here it
is the interface that the kernel sends by to another node of the job, under the name by which Slurm knows it.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Iterator

from launch.node.topology import Node

LENGTHS = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}  # offset in sockaddr, bytes; <netinet/in.h>
ANY_PORT = 9  # nothing is sent


class _Entry(ctypes.Structure):
    """struct ifaddrs of <ifaddrs.h>, as far as it is needed."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def between_nodes(node: Node) -> str | None:
    """Return the interface that leads from this node to the others; None if there is but a loopback.

    None, too, where another node is unknown by name, which this says: gloo and NCCL may find it all the same.
    """
    other = node.head if node.rank > 0 else node.hosts[1]
    try:
        address = own_address(other)
    except OSError as error:
        print(
            f"{other} can't be reached from {node.address} ({error.strerror}): which network the nodes meet "
            "on is left to gloo and NCCL; GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME choose it",
            file=sys.stderr,
        )
        return None
    name = next((name for name, one in interfaces() if one == address), None)
    return None if name == "lo" else name


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
    """Yield the name of an interface and an address of it, for each address of this machine."""
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
