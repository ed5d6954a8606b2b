import os
import socket
from pathlib import Path

import pytest

from launch.errors import LaunchError
from launch.node import torchrun
from launch.node.topology import Node, this_node

ALONE = Node(0, 1, "127.0.0.1", "17", 0, ("here",))


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_one_node_stays_on_the_loopback_address() -> None:
    words = torchrun.command(Path("/runs/a"), ALONE, 2, 0, "meeting", 120)
    assert option(words, "--rdzv-endpoint") == "127.0.0.1:0"
    assert option(words, "--local-addr") == "127.0.0.1"
    assert option(words, "--shutdown-timeout") == "120"
    assert words[-3:] == ["-m", "dnw.train", "/runs/a"]
    assert torchrun.on_one_node({})["GLOO_SOCKET_IFNAME"] == "lo"
    assert torchrun.on_one_node({"GLOO_SOCKET_IFNAME": "eth0"})["GLOO_SOCKET_IFNAME"] == "eth0"


def test_a_port_that_was_asked_for() -> None:
    assert (
        option(torchrun.command(Path("a"), ALONE, 2, 29500, "m", 1), "--rdzv-endpoint") == "127.0.0.1:29500"
    )


def test_nodes_meet_at_the_first_one() -> None:
    nodes = [Node(rank, 2, "n1", "12345", 0, ("n1", "n2")) for rank in range(2)]
    first, second = (torchrun.command(Path("a"), node, 4, 22345, "m", 1) for node in nodes)
    assert option(first, "--rdzv-endpoint") == option(second, "--rdzv-endpoint") == "n1:22345"
    assert (option(first, "--rdzv-conf"), option(second, "--rdzv-conf")) == (
        "is_host=true,join_timeout=300,read_timeout=60",
        "is_host=false,join_timeout=300,read_timeout=60",
    )
    assert (option(first, "--local-addr"), option(second, "--local-addr")) == ("n1", "~000001")


def test_a_job_has_a_port_of_its_own_that_is_free() -> None:
    node = Node(0, 2, "n1", "12345", 0, ("n1", "n2"))
    port = torchrun.free_port(node)
    assert torchrun.free_port(node) == port
    assert torchrun.free_port(Node(0, 2, "n1", "12346", 0, ("n1", "n2"))) != port
    with socket.create_server(("", port)):
        other = torchrun.free_port(node)
    assert other == port + 1


def test_workers_see_no_trace_of_the_job_around_them() -> None:
    around = {
        "SLURM_JOB_ID": "1", "SLURM_CPU_BIND": "x", "SUBMITIT_EXECUTOR": "slurm", "PMI_RANK": "1",
        "PMIX_ID": "1", "OMPI_COMM_WORLD_RANK": "0", "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1",
        "MASTER_ADDR": "h", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "a", "PET_NNODES": "4",
        "MKL_NUM_THREADS": "9", "DNW_GPUS": "8",
    }  # fmt: skip
    kept = {
        "CUDA_VISIBLE_DEVICES": "2,3",
        "HOME": "/root",
        "NCCL_DEBUG": "INFO",
        "TORCHELASTIC_ENABLE_FILE_TIMER": "1",
    }
    found = torchrun.environment(around | kept, Path("/runs/a/code"), threads=2, attempt=5, gpus=None)
    assert found == kept | {
        "PYTHONPATH": "/runs/a/code", "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2", "DNW_ATTEMPT": "5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "given", "told"),
    [
        (8, {}, {"DNW_GPUS": "8"}),
        (2, {"SLURM_GPUS_ON_NODE": "4"}, {"DNW_GPUS": "2"}),
        (None, {"SLURM_GPUS_ON_NODE": "4"}, {"DNW_GPUS": "4"}),
        (None, {"SLURM_SHARDS_ON_NODE": "2"}, {"DNW_GPUS": "1"}),
        (None, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "1"}),
        (0, {"CUDA_VISIBLE_DEVICES": "1"}, {"DNW_GPUS": "0", "CUDA_VISIBLE_DEVICES": ""}),
    ],
)
def test_workers_are_told_which_gpus_were_asked_for(
    gpus: int | None, given: dict[str, str], told: dict[str, str]
) -> None:
    found = torchrun.environment(given, Path("/code"), 1, 1, gpus)
    assert {name: found[name] for name in ("DNW_GPUS", "CUDA_VISIBLE_DEVICES") if name in found} == told


@pytest.mark.parametrize("before", ["/site", "/runs/a/code:/site", ":/site"])
def test_the_frozen_code_comes_first(before: str) -> None:
    found = torchrun.environment({"PYTHONPATH": before}, Path("/runs/a/code"), 1, 1, None)
    assert found["PYTHONPATH"] == os.pathsep.join(["/runs/a/code", "/site"])


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            LaunchError, match=rf"port: {port} can't be used \(Address already in use\); choose"
        ):
            torchrun.check_port(port)
    torchrun.check_port(port)


@pytest.fixture
def in_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The second of two nodes, with a scontrol that knows one answer."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    given = {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "7",
        "SLURM_NODEID": "1",
        "SLURM_JOB_NUM_NODES": "2",
    }
    for name, value in (given | {"SLURMD_NODENAME": "n2", "SLURM_JOB_NODELIST": "n[1-2]"}).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_node_among_nodes(in_slurm: pytest.MonkeyPatch) -> None:
    assert this_node(2) == Node(1, 2, "n1", job="7", restart=0, hosts=("n1", "n2"), in_slurm=True)
    in_slurm.setenv("SLURM_RESTART_COUNT", "3")
    assert this_node(2).restart == 3


def test_other_nodes_than_were_asked_for(in_slurm: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="launched for 4 nodes, but Slurm gave 2"):
        this_node(4)
    in_slurm.delenv("SUBMITIT_EXECUTOR")
    with pytest.raises(RuntimeError, match="2 nodes need a Slurm job"):
        this_node(2)


def test_torchrun_numbers_the_nodes_as_slurm_does() -> None:
    """By the order of texts, where n10 comes before n2 and 10.0.0.10 before 10.0.0.9."""
    for head in ("10.0.0.9", "fd00::2", "zeus"):
        nodes = [Node(rank, 12, head, "7", 0, tuple(f"n{n}" for n in range(12))) for rank in range(12)]
        told = [option(torchrun.command(Path("a"), node, 4, 1, "m", 1), "--local-addr") for node in nodes]
        assert told == sorted(told)
        assert told[0] == head
    endpoint = torchrun.command(Path("a"), Node(0, 2, "fd00::2", "7", 0, ("a", "b")), 4, 1, "m", 1)
    assert option(endpoint, "--rdzv-endpoint") == "[fd00::2]:1"
