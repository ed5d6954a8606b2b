"""Two nodes of a job, both on this machine, of which one can't take part: real jobs, real agents."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in_worker import ROOT, a_run

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.node import meeting

BROKEN = "raise ImportError('libcudart.so.12: cannot open shared object file')\n"
# The first look at a port finds it free.
UNSEEN_ONCE = """
from launch.node import torchrun
real, first = torchrun.why_not, [None]
torchrun.why_not = lambda *where: first.pop() if first else real(*where)
"""
SCONTROL = '#!/bin/sh\necho "$*" >>"$(dirname "$0")/asked"\n'


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A stand-in for scontrol, which notes what it is asked."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "scontrol").write_text(SCONTROL)
    (tmp_path / "tools" / "scontrol").chmod(0o755)
    return tmp_path / "tools"


def started(
    run: Run, rank: int, tools: Path, *path: str, options: str = "", before: str = ""
) -> subprocess.Popen[str]:
    """The job of one of two nodes; `before` is done in its process, and not in the agent's."""
    variables = {
        **{"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "ACT": "finish"},
        **{"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NODEID": str(rank), "SLURMD_NODENAME": f"n{rank + 1}"},
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
    }
    job = f"Job(Path({str(run.folder)!r}), 2, 1, 20{options})"
    code = f"from pathlib import Path; from launch.node.job import Job\n{before}\n{job}()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_nodes_meet_where_the_port_that_was_typed_is_taken(tmp_path: Path, tools: Path) -> None:
    run = a_run(tmp_path)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        nodes = [started(run, rank, tools, options=f", port={port}") for rank in (1, 0)]
        told = [node.communicate(timeout=100)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert f"port: {port} can't be used on n1 (Address already in use); this attempt goes on with" in told[1]
    assert [attempt.reason for attempt in ledger.read(run)] == ["done"]


def test_a_port_that_is_taken_before_the_nodes_meet_blames_no_other_node(tmp_path: Path, tools: Path) -> None:
    """The first node says so at once, and the next attempt finds another port."""
    run = a_run(tmp_path)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        nodes = [started(run, rank, tools, options=f", port={port}", before=UNSEEN_ONCE) for rank in (1, 0)]
        told = [node.communicate(timeout=100)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    first, second = ledger.read(run)
    assert (first.reason, second.reason) == ("unfit", "done")
    assert first.end is not None
    assert first.end["detail"] == f"n1: port {port} was taken meanwhile: Address already in use"
    assert first.end["nodes"] == ["n1"]


def test_a_node_without_torch_is_named_and_left(tmp_path: Path, tools: Path) -> None:
    """At once: the first node doesn't wait for it in the rendezvous."""
    run = a_run(tmp_path)
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text(BROKEN)
    second = started(run, 1, tools, str(tmp_path / "broken"))
    first = started(run, 0, tools)
    out, _ = first.communicate(timeout=200)
    second.terminate()
    second.communicate(timeout=60)
    assert first.returncode == 1, out
    ends = [attempt.end or {} for attempt in ledger.read(run)]
    assert [(end["reason"], end["node"]) for end in ends] == [("unfit", "n2"), ("unfit", "n2")], out
    assert ends[0]["detail"] == "n2: torch can't be imported: libcudart.so.12: cannot open shared object file"
    assert "n2 excluded from now on: failed twice, or unfit" in out
    asked = (tools / "asked").read_text().splitlines()
    assert asked[-1] == "update JobId=7 ExcNodeList=n2"
    assert "requeue 7" in asked
    assert "not all nodes have come" not in run.log(1, 0).read_text()


def test_a_first_node_without_the_interface_is_named_and_left(tmp_path: Path, tools: Path) -> None:
    """As any other one: in the ledger, not in a line of a log alone."""
    run = a_run(tmp_path)
    first = started(run, 0, tools, options=", interface='ib7'")
    out, _ = first.communicate(timeout=100)
    assert first.returncode == 1, out
    ends = [attempt.end or {} for attempt in ledger.read(run)]
    assert [(end["reason"], end["node"]) for end in ends] == [("unfit", "n1"), ("unfit", "n1")], out
    assert "cluster.interface=ib7: no interface of" in ends[0]["detail"]
    assert (tools / "asked").read_text().splitlines()[-1] == "update JobId=7 ExcNodeList=n1"


def test_a_first_node_that_nobody_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "CONNECT_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(meeting.UnfitError, match=rf"^can't reach 127.0.0.1, port {port}: Connection ref"):
            meeting.reach("127.0.0.1", port)
        listener.listen()
        meeting.reach("127.0.0.1", port)


def test_where_no_way_leads_nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "UNREACHABLE_S", 0.2)
    began_s = time.monotonic()
    with pytest.raises(meeting.UnfitError, match=r"^can't reach no-such-host.invalid, port 7: ") as raised:
        meeting.reach("no-such-host.invalid", 7)
    assert raised.value.code == meeting.UNREACHED
    assert time.monotonic() - began_s < 60  # a resolver's own patience


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import libnuma_of_mine", meeting.UnfitError),
        ("import dnw.nothing", ModuleNotFoundError),
        ("from dnw import nothing", ImportError),
        ("1 / 0", ZeroDivisionError),
    ],
)
def test_what_the_node_lacks_is_told_from_what_is_wrong_with_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: type[Exception]
) -> None:
    (tmp_path / "some_worker.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_worker", raising=False)
    with pytest.raises(error):
        meeting.load("some_worker")
