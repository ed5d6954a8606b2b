"""What the checks of a self-test are made with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from example import train as example

from dnw.runs.folder import Run
from launch.node.container import Container
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.self_test import bench, cases
from launch.self_test.bench import Bench, CaseError
from launch.self_test.cases import SMALL, Case


def a_bench(tmp_path: Path, nodes: int, nproc: int) -> Bench:
    hosts = tuple(f"n{number}" for number in range(1, nodes + 1))
    node = Node(0, nodes, "n1", "7", 0, hosts, in_slurm=True)
    whole = Run(tmp_path / "self_test" / "x-0123456789")
    job = Job(whole.folder, nodes, nproc, 60, variables={"NCCL_DEBUG": "INFO"})
    return Bench(whole, 1, node, job, lambda *_: None, StopRequests(impatient=False), example())


def test_on_how_few_nodes(tmp_path: Path) -> None:
    found = a_bench(tmp_path, nodes=3, nproc=4)
    assert [found.share(count) for count in (1, 2, 4, 8, 16)] == [(1, 1), (1, 2), (1, 4), (2, 4), None]
    assert a_bench(tmp_path, nodes=2, nproc=3).share(4) is None


def test_what_is_announced_is_what_the_other_nodes_read() -> None:
    variables = {"DNW_FAULT": "1:step 5"}
    case = Case("killed-fp32", "killed-fp32.2", 2, 4, "static", {"steps": 4}, ("dnw.train",), variables)
    read, attempt, port = bench.announced(bench.announcement(case, 3, 12345))
    assert (attempt, port) == (3, 12345)
    assert (read.folder, read.nodes, read.nproc) == (case.folder, case.nodes, case.nproc)
    assert (read.worker, read.variables) == (case.worker, case.variables)


def test_fewer_nodes_than_all_meet_by_themselves(tmp_path: Path) -> None:
    node = a_bench(tmp_path, nodes=3, nproc=4).node
    alone, two = bench.among(node, 1), bench.among(node, 2)
    assert (alone.count, alone.head, alone.hosts) == (1, LOOPBACK, ("n1",))
    assert (two.count, two.head, two.hosts) == (2, "n1", ("n1", "n2"))


def test_a_case_runs_the_frozen_code_and_its_own_worker(tmp_path: Path) -> None:
    found = a_bench(tmp_path, nodes=1, nproc=2)
    (found.whole.code / "dnw").mkdir(parents=True)
    case = Case("measure-ties", "measure-ties.1", 1, 2, worker=("dnw.self_test.measure", "ties"))
    run = cases.prepare(found.whole, case, cases.settings(found.base, case, SMALL, 2))
    assert (run.code / "dnw").is_dir()
    command = bench.job_of(found.whole, case, found.job).command(found.node, 1, 0)
    assert command[-4:] == ["-m", "dnw.self_test.measure", str(run.folder), "ties"]


def test_a_case_runs_where_the_self_test_was_typed_to(tmp_path: Path) -> None:
    """In its container, by its interpreter, on its interface; its own are logs, retries and notice."""
    found, where = a_bench(tmp_path, nodes=1, nproc=2), Container("docker://a", arguments=("--no-home",))
    typed: dict[str, Any] = {
        "container": where,
        "python": "/opt/python",
        "interface": "ib0",
        "gpus": 4,
        "is_requeued": False,
    }
    told: dict[str, Any] = {"foreground": True, "error_retries": 3, "notify": "cat", "port": 12345}
    made = bench.job_of(found.whole, Case("x", "x.1", 1, 1), dataclasses.replace(found.job, **typed, **told))
    assert {name: getattr(made, name) for name in typed} == typed
    assert {name: bool(getattr(made, name)) for name in told} == dict.fromkeys(told, False)
    assert made.command(found.node, 1, 0)[0] == "/opt/python"


def test_a_case_has_the_variables_of_the_self_test_beside_its_own(tmp_path: Path) -> None:
    found = a_bench(tmp_path, nodes=1, nproc=2)
    case = Case("killed", "killed.1", 1, 2, variables={"DNW_FAULT": "1:step 5"})
    variables = bench.job_of(found.whole, case, found.job).variables
    assert variables == {"NCCL_DEBUG": "INFO", "DNW_FAULT": "1:step 5"}


def test_a_case_that_came_to_no_end_is_not_tried_by_each_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = a_bench(tmp_path, nodes=1, nproc=2)
    tried = []
    monkeypatch.setattr(Job, "lead", lambda self, *_: tried.append(self.folder) or (1, None))
    for _ in range(2):
        with pytest.raises(CaseError, match=r"whole-fp32\.1: it never began"):
            found.train("whole-fp32")
    assert len(tried) == 1
