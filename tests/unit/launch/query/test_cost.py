"""What runs cost, of ledgers made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dnw.runs.ledger import Attempt
from launch.cluster.job_energy import Allocation
from launch.query.cost import Cost, cost, energies

H = 3600.0


def attempt(number: int, began: float, hours: float | None, hosts: int = 2, **facts: Any) -> Attempt:
    end = None if hours is None else {"reason": "stopped", "time": began + hours * H}
    claim = {"time": began, "job": facts.pop("job", "7"), "hosts": [f"n{index}" for index in range(hosts)]}
    start = {"time": began + 1, "step": 0, **facts} if facts else None
    return Attempt(number, claim=claim, start=start, end=end)


def test_nodes_and_gpus_by_the_hours_of_each_attempt() -> None:
    ledger = [
        attempt(1, 0, 2, world=8, device="cuda:0", nodes=2),
        attempt(2, 9 * H, 0.5),  # failed before it said where it computes: as the others
        attempt(3, 20 * H, None, hosts=1, world=4, device="cuda:0", nodes=1),
    ]
    assert cost(ledger, now=23 * H) == Cost(node_hours=2 * 2 + 0.5 * 2 + 3, gpu_hours=2 * 8 + 0.5 * 8 + 3 * 4)


def test_on_cpus_no_gpu_is_used_and_before_the_first_step_nobody_knows() -> None:
    assert cost([attempt(1, 0, 1, world=2, device="cpu", nodes=2)]) == Cost(2.0, 0.0)
    assert cost([attempt(1, 0, 1)]) == Cost(2.0, None)
    assert cost([]) is None


@pytest.mark.parametrize(
    ("told", "kwh"),
    [
        ([Allocation("7", 90.0, 4000.0, 7_200_000)], {"a": 2.0}),
        ([Allocation("7", 90.0, 4000.0, 3_600_000), Allocation("7", 8990.0, None, None)], {"a": 1.0}),
        ([Allocation("7", 90.0, 4000.0, None)], {}),  # not accounted
        ([Allocation("7", 5000.0, 8000.0, 1)], {}),  # another job of the same number: no attempt began in it
        ([Allocation("8", 90.0, 4000.0, 1)], {}),
    ],
)
def test_energy_of_the_jobs_in_which_attempts_began(told: list[Allocation], kwh: dict[str, float]) -> None:
    ledger = [attempt(1, 100, 1), attempt(2, 120, 1), attempt(3, 9000, None)]
    assert energies({"a": ledger, "b": []}, told) == kwh


def test_energy_of_a_job_that_worked_for_two_runs_is_neithers() -> None:
    told = [Allocation("7", 90.0, 4000.0, 7_200_000), Allocation("9", 90.0, 4000.0, 3_600_000)]
    ledgers = {"a": [attempt(1, 100, 1)], "b": [attempt(1, 200, 1)], "c": [attempt(1, 100, 1, job="9")]}
    assert energies(ledgers, told) == {"c": 1.0}


def test_runs_that_share_a_job_share_its_hours() -> None:
    alone = attempt(1, 0, 2, hosts=1, world=1, device="cuda:0", nodes=1)
    shared = dataclasses.replace(alone, claim={**(alone.claim or {}), "runs": 4})
    assert cost([shared]) == Cost(node_hours=0.5, gpu_hours=0.5)
    assert cost([alone, dataclasses.replace(shared, number=2)]) == Cost(2.5, 2.5)
