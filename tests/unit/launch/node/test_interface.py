"""Which interface nodes meet on. With another node: in a network namespace that this test makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.node import interface, torchrun
from launch.node.topology import Node

ROOT = Path(__file__).resolve().parents[4]
# A host whose own name is 127.0.1.1, with a network of its own beside the one that leads to n1 and n2.
SCRIPT = """
set -e
hosts=$(mktemp)
echo "127.0.0.1 localhost\n127.0.1.1 $(hostname)\n10.77.0.1 n1\n10.77.0.2 n2" >$hosts
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
import socket
from launch.node.interface import between_nodes
from launch.node.topology import Node
hosts = ("n1", "n2")
print(socket.gethostbyname(socket.gethostname()))
print(*(between_nodes(Node(rank, 2, host, "n1", "7", 0, hosts)) for rank, host in enumerate(hosts)))
"""


def test_addresses_of_this_machine() -> None:
    assert ("lo", "127.0.0.1") in list(interface.interfaces())


def test_a_loopback_leads_to_no_other_node() -> None:
    node = Node(1, 2, "localhost", "127.0.0.1", "7", 0, ("localhost", "localhost"))
    assert interface.between_nodes(node) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_the_interface_that_leads_to_the_other_nodes() -> None:
    """Not the one of the host's own name. Of rank 1 here: its head is n1, which is this host."""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SCRIPT, "sh", sys.executable, "-c", ASK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["127.0.1.1", "cable cable"]


def test_a_node_that_is_unknown_here_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(0, 2, "n1", "n1", "7", 0, ("n1", "no-such-host.invalid"))
    assert interface.between_nodes(node) is None
    assert "no-such-host.invalid can't be reached" in capsys.readouterr().err


def test_what_the_user_has_set_stays() -> None:
    found = torchrun.on_several_nodes({"NCCL_SOCKET_IFNAME": "ib0"}, "eth0")
    assert found == {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "ib0"}
    assert torchrun.on_several_nodes({}, "eth0")["NCCL_SOCKET_IFNAME"] == "=eth0"
    assert torchrun.on_several_nodes({}, None) == {}
