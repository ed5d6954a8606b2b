"""Where nodes meet. With another node: in a network namespace that this test makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.errors import LaunchError
from launch.node import interface, torchrun

ROOT = Path(__file__).resolve().parents[4]
# A host whose own name is 127.0.1.1, with a network of its own beside the one that leads to n1 and n2.
SCRIPT = """
set -e
hosts=$(mktemp)
printf "127.0.0.1 localhost\n127.0.1.1 $(hostname) local\n10.77.0.1 n1\n10.77.0.2 n2\n" >$hosts
mount --bind $hosts /etc/hosts
rm $hosts
ip link set lo up
for name in aside cable; do ip link add $name type veth peer name p-$name; ip link set $name up; done
ip link set p-cable up
ip addr add 10.1.0.1/24 dev aside
ip addr add 10.77.9.9/16 dev cable
ip addr add 10.77.0.1/16 dev cable
exec "$@"
"""
ASK = """
import os, socket, sys
from launch.errors import LaunchError
from launch.node.interface import address_of_first, interface_to
os.environ |= dict(word.split("=") for word in sys.argv[4:])
hosts, typed = sys.argv[1].split(","), sys.argv[2] or None
first = address_of_first(hosts, typed) if sys.argv[3] == "0" else "10.77.0.2"
try:
    print(socket.gethostbyname(socket.gethostname()), first, interface_to(first, hosts, typed))
except LaunchError as error:
    print(error)
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def asked(hosts: str, typed: str = "", rank: int = 0, *variables: str) -> str:
    """What a node says of its own name's address, the first one's, and the interface."""
    python = [sys.executable, "-c", ASK, hosts, typed, str(rank), *variables]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "sh", *python],
        cwd=ROOT,
        env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("hosts", "variables", "address"),
    [
        ("n1,n2", [], "10.77.0.1"),  # what its name stands for
        ("local,n2", [], "10.77.9.9"),  # a name that leads to itself: the way to the second node
        ("local,unknown", ["SLURM_LAUNCH_NODE_IPADDR=10.77.0.1"], "10.77.0.1"),
        ("local,n2", ["SLURM_LAUNCH_NODE_IPADDR=192.0.2.7"], "10.77.9.9"),  # not of this node
    ],
)
def test_the_first_node_finds_an_address_that_others_reach(
    hosts: str, variables: list[str], address: str
) -> None:
    assert asked(hosts, "", 0, *variables) == f"127.0.1.1 {address} cable"


def test_other_nodes_take_the_way_to_the_first() -> None:
    assert asked("unknown,local", rank=1) == "127.0.1.1 10.77.0.2 cable"


def test_an_interface_that_was_typed() -> None:
    assert asked("n1,n2", "aside") == "127.0.1.1 10.1.0.1 aside"
    told = asked("n1,n2", "ib7", rank=1)
    assert told.startswith("cluster.interface=ib7: no interface of ")
    assert "aside" in told.partition("has this name (here are ")[2]


def test_what_slurm_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text('#!/bin/sh\n[ "$4" = n1 ] && echo "NodeName=n1 NodeAddr=10.2.0.7"\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(
        interface, "interfaces", lambda: [("lo", "127.0.0.1"), ("a", "10.1.0.7"), ("b", "10.2.0.7")]
    )
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.1.0.7")
    assert interface.address_of_first(["n1", "n2"]) == "10.2.0.7"
    assert interface.address_of_first(["n9", "n2"]) == "10.1.0.7"  # scontrol doesn't know it


def test_the_default_route_comes_before_a_bridge_for_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither node's name is known; the bridge has the same address on every node."""
    there = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "10.2.0.7"), ("eth0", "2001:db8:7::1")]
    ways = {"192.0.2.1": "10.2.0.7", "2001:db8::1": "2001:db8:7::1"}

    def own_address(host: str) -> str:
        if host not in ways:
            raise OSError(-2, "Name or service not known")
        return ways[host]

    monkeypatch.setattr(interface, "interfaces", lambda: there)
    monkeypatch.setattr(interface, "own_address", own_address)
    monkeypatch.setattr(interface, "_resolved", lambda _name: ["127.0.1.1"])
    assert interface.address_of_first(["n1", "n2"]) == "10.2.0.7"
    del ways["192.0.2.1"]  # a node with IPv6 only
    assert interface.address_of_first(["n1", "n2"]) == "2001:db8:7::1"


def test_addresses_of_this_machine() -> None:
    assert ("lo", "127.0.0.1") in list(interface.interfaces())


def test_a_loopback_leads_to_no_other_node() -> None:
    assert interface.interface_to("127.0.0.1", ["localhost", "localhost"]) is None


def test_a_first_node_that_is_unknown_here_is_named() -> None:
    with pytest.raises(LaunchError, match=r"^can't reach n1 \(no-such-host.invalid\): "):
        interface.interface_to("no-such-host.invalid", ["n1", "n2"])


def test_what_the_user_has_set_stays() -> None:
    found = torchrun.on_several_nodes({"NCCL_SOCKET_IFNAME": "ib0"}, "eth0")
    assert found == {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "ib0"}
    assert torchrun.on_several_nodes({}, "eth0")["NCCL_SOCKET_IFNAME"] == "=eth0"
    assert torchrun.on_several_nodes({}, None) == {}
    typed = torchrun.on_several_nodes({"NCCL_SOCKET_IFNAME": "ib0"}, "eth0", is_typed=True)
    assert typed["NCCL_SOCKET_IFNAME"] == "=eth0"
