import os
import socket
from pathlib import Path

import pytest

from launch.node.topology import LOOPBACK, Node, this_node

IN_SLURM = {
    **{"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2", "SLURM_NODEID": "1"},
    **{"SLURM_JOB_NUM_NODES": "2", "SLURMD_NODENAME": "n4", "SLURM_JOB_NODELIST": "n[3-4]"},
}


@pytest.fixture
def in_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of job 7 on its second node."""
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\n[ "$3" = "n[3-4]" ] && printf "n3\\nn4\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in IN_SLURM.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("in_slurm")
def test_one_of_the_nodes_of_a_job() -> None:
    assert this_node(2) == Node(1, 2, "n3", "7", 2, ("n3", "n4"), in_slurm=True)
    assert this_node(1) == Node(0, 1, LOOPBACK, "7", 2, ("n4",), in_slurm=True)
    with pytest.raises(RuntimeError, match="launched for 3 nodes, but Slurm gave 2"):
        this_node(3)


@pytest.mark.usefixtures("in_slurm")
def test_an_element_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm takes the id of the last element to start, 7 here, for all of them."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert this_node(1).job == "7_3"


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    assert this_node(1) == Node(0, 1, LOOPBACK, str(os.getpid()), 0, (socket.gethostname(),))
    with pytest.raises(RuntimeError, match="2 nodes need a Slurm job"):
        this_node(2)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "99")
    assert this_node(1).job == "99"
