from typing import Any

import example
import pytest

from launch.commands.published import ROWS, Published, published


@pytest.mark.parametrize(
    ("changes", "top1"),
    [
        ({"model__name": "discrete", "wiring__name": "random", "data__name": "cifar10"}, 77.3),
        ({"model": {"name": "mobilenet", "small": True}, "width": 0.225, "data__name": "imagenet"}, 59.9),
        ({"model__name": "mobilenet", "width": 0.225, "data__name": "imagenet"}, 60.9),
        ({"model__name": "resnet50", "width": None, "sparsity": 0.7, "data__name": "imagenet"}, 76.904),
        (
            {
                "model__name": "resnet50",
                "width": None,
                "sparsity": 0.9,
                "first_layer": "dense",
                "data__name": "imagenet",
            },
            75.044,
        ),
        (
            {"model__name": "resnet50", "width": None, "wiring__name": "complete", "data__name": "imagenet"},
            77.51,
        ),
        ({"model__name": "mobilenet", "width": 0.5, "data__name": "imagenet"}, None),
        ({"model__name": "mobilenet", "width": 0.225, "data__name": "cifar10"}, None),
        ({"model__name": "resnet50", "width": None, "sparsity": 0.75, "data__name": "imagenet"}, None),
    ],
)
def test_what_is_published_of_a_kind(changes: dict[str, Any], top1: float | None) -> None:
    found = published(example.train(**changes))
    assert (found.top1 if found else None) == top1


def test_no_two_published_results_are_of_the_same_kind() -> None:
    def kind(row: Published) -> tuple[object, ...]:
        return row.model, row.wiring, row.data, row.width, row.sparsity, row.small, row.first_layer

    assert len({kind(row) for row in ROWS}) == len(ROWS)
