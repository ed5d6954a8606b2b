"""Experiments, recipes, and what belongs to the launch."""

import dataclasses
from pathlib import Path

import pytest

from dnw.compose import training
from dnw.config import ConfigError
from launch import compose, gpus
from launch.config import Cluster, Launch, check_processes

CLUSTER = Cluster(name="slurm", timeout_min=60, signal_delay_s=120, grace_s=60)
LAUNCH = Launch(
    nodes=1, nproc=None, runs_dir=Path("runs"), fresh=False, dry_run=False, port=None, cluster=CLUSTER
)


@pytest.mark.parametrize("name", sorted(compose.experiments()))
def test_every_experiment_is_whole(name: str) -> None:
    train = training([f"+exp={name}"])
    assert train.exp == name
    text = (compose.CONFIGS / "exp" / f"{name}.yaml").read_text()
    assert f"+exp={name}" in text  # its command
    assert "# Recipe: " in text


@pytest.mark.parametrize(
    ("name", "recipe"),
    [  # batch, epochs, rate, momentum, decay, schedule: what the paper's own code has
        ("static_dnw", (512, 160, 0.1, 0.9, 1e-4, "multistep")),
        ("cifar_dnw", (128, 160, 0.1, 0.9, 1e-4, "cosine")),
        ("imagenet_dnw", (512, 250, 0.1, 0.9, 5e-5, "cosine")),
    ],
)
def test_recipes(name: str, recipe: tuple[object, ...]) -> None:
    train = training([f"+exp={name}"])
    optim = train.optim
    found = (train.batch, train.epochs, optim.lr, optim.momentum, optim.weight_decay, optim.schedule)
    assert found == recipe


def test_the_command_line_overrules_the_experiment() -> None:
    train = training(
        ["+exp=static_dnw", "data=fashion_mnist", "wiring=complete", "width=0.3", "optim=medium"]
    )
    assert (train.data.name, train.wiring.name, train.width, train.batch) == (
        "fashion_mnist",
        "complete",
        0.3,
        128,
    )


def test_the_first_line_of_an_experiment_is_what_the_help_shows() -> None:
    assert compose.experiments()["imagenet_dnw"].startswith("MobileNetV1-like, wiring discovered; ImageNet")


@pytest.mark.parametrize(
    ("nproc", "gpus_per_node", "cluster", "processes"),
    [
        (None, None, "slurm", 1), (None, 8, "slurm", 8), (4, 8, "slurm", 4), (None, 0, "slurm", 1),
        (None, None, "local", 3), (2, None, "local", 2), (None, 1, "local", 1),
    ],
)  # fmt: skip
def test_processes_per_node(
    monkeypatch: pytest.MonkeyPatch,
    nproc: int | None,
    gpus_per_node: int | None,
    cluster: str,
    processes: int,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5")
    changed = dataclasses.replace(CLUSTER, name=cluster, gpus_per_node=gpus_per_node)
    assert dataclasses.replace(LAUNCH, nproc=nproc, cluster=changed).processes_per_node == processes


@pytest.mark.parametrize(
    ("named", "found"), [("", []), ("-1", []), ("0,1", ["0", "1"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])]
)
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, named: str, found: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus.visible_gpus() == found


def test_processes_that_cannot_share_a_step() -> None:
    train = training(["+exp=cifar_dnw", "batch=96", "micro_batch=16"])
    for nodes, nproc in ((1, 1), (1, 2), (3, 1), (2, 3)):
        check_processes(train, dataclasses.replace(LAUNCH, nodes=nodes, nproc=nproc))
    with pytest.raises(ConfigError, match=r"2 x 2 = 4 processes .* 6 micro-batches .* can: 1, 2, 3, 6$"):
        check_processes(train, dataclasses.replace(LAUNCH, nodes=2, nproc=2))
