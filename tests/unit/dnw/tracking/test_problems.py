"""Which problem of a tracker was the last one, by what its process has printed."""

import pytest

from dnw.tracking import problems


@pytest.mark.parametrize(
    ("told", "last"),
    [
        ([], ""),
        (["wandb: Loaded credentials"], ""),
        ([problems.line("mlflow: a"), problems.line("mlflow: b"), "Traceback"], "mlflow: b"),
        ([problems.line("mlflow: a"), problems.line("")], ""),
    ],
)
def test_the_last_one(told: list[str], last: str) -> None:
    assert problems.last("\n".join(told)) == last
