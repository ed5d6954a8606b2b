"""Too few cores for a GPU, as a submission tells of them."""

import os
from pathlib import Path

import pytest

from dnw.compose import training
from launch import prepare
from launch.compose import compose
from launch.loader_cores import cores_needed, doubt


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("+exp=imagenet_dnw cluster.gpus_per_node=8", None),
        ("+exp=imagenet_dnw cluster.gpus_per_node=0 cluster.cpus_per_task=2", None),  # on the CPU
        ("+exp=imagenet_dnw cluster.gpus_per_node=8 cluster.cpus_per_task=72", None),
        ("+exp=cifar_dnw cluster.gpus_per_node=2 cluster.cpus_per_task=2", None),  # nobody has reckoned
        (
            "+exp=imagenet_dnw cluster.gpus_per_node=8 cluster.cpus_per_task=16",
            "each may take 6,000 images/s (reckoned, not measured), and 2 cores for each give 1,520; "
            "set cluster.cpus_per_task=72",
        ),
        (
            "+exp=imagenet_dnw cluster.gpus_per_node=4 data.workers=1",
            "each may take 6,000 images/s (reckoned, not measured), and 1 core for each give 760; "
            "set data.workers=8",
        ),
        (
            "+exp=resnet50_dense cluster.gpus_per_node=4 cluster.cpus_per_task=8 data.workers=0",
            "each may take 2,700 images/s (reckoned, not measured), and 1 core for each give 760; "
            "set data.workers=4 and cluster.cpus_per_task=20",
        ),
        ("+exp=resnet50_dense precision=fp32 cluster.gpus_per_node=4 data.workers=2", None),
        (
            "+exp=imagenet_dnw precision=fp32 cluster=local cluster.gpus_per_node=2",
            "each may take 2,900 images/s (reckoned, not measured), and 3 cores for each give 2,280; "
            "set nproc=1 on these 6 cores",
        ),
    ],
)
def test_too_few_cores(
    words: str, said: str | None, launch_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    (composed,) = compose([*words.split(), f"data.dir={launch_shards}", "data.classes=10"])
    planned = prepare.plan(composed)
    found = doubt(planned.train, planned.launch)
    assert found == (said and f"the loader may starve the GPUs: {said}")
    assert [note for note in planned.notes if "loader" in note] == ([] if found is None else [found])


def test_the_remedy_works() -> None:
    assert cores_needed(training(["+exp=imagenet_dnw"])) == training(["+exp=imagenet_dnw"]).data.workers == 8
