"""What a run would take without GPUs, against the table that users read."""

import dataclasses
import re
from pathlib import Path

import pytest

from dnw.compose import training
from launch import cpu_hours

TABLE = (Path(__file__).resolve().parents[3] / "docs" / "reproduce.md").read_text()
ROWS = re.findall(r"^\| ((?:imagenet|resnet50)\w+) \| [\d.]+ \| ([\d,]+) \|$", TABLE, re.MULTILINE)


@pytest.mark.parametrize(("experiment", "hours"), ROWS)
def test_hours_are_those_of_the_table(experiment: str, hours: str) -> None:
    sparse = ["sparsity=0.9"] if experiment == "resnet50_sparse" else []
    found = cpu_hours.hours(training([f"+exp={experiment}", *sparse]), processes=1)
    assert found == pytest.approx(float(hours.replace(",", "")), rel=0.1)


def test_the_table_has_such_rows() -> None:
    assert len(ROWS) == 6


def test_what_is_said() -> None:
    train = training(["+exp=imagenet_dnw"])
    assert cpu_hours.told(train, 2) == (
        "imagenet_dnw wants GPUs and trains with 2 processes on the CPU: about 6,400 hours (reckoned by "
        "6.9 images/s for each core, docs/reproduce.md)"
    )
    few = dataclasses.replace(train, steps=10)
    assert "1 process on the CPU: about 0 hours" in cpu_hours.told(few, 1)
    unknown = training(["+exp=resnet50_dense", "model=resnet18"])
    assert "nobody has timed how long that takes" in cpu_hours.told(unknown, 1)
