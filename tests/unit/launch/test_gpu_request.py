"""Which GPUs are asked for on each node: typed, in any of Slurm's ways, or what the nodes have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from login_node import Captured, Typed

from dnw.compose import training
from dnw.config import ConfigError, Train
from launch import app, gpu_request, gpus
from launch.config import Cluster, Launch
from launch.gpu_request import COUNTED_THERE, Request
from launch.scheduler.gres import Gpus, NodeKind
from launch.scheduler.slurm_command import SlurmError

A100, V100 = Gpus(4, "a100"), Gpus(8, "v100")
KINDS = [
    NodeKind("low", True, 4, None),
    NodeKind("gpu", False, 6, A100, frozenset({"fast", "ib"})),
    NodeKind("gpu", False, 2, V100),
    NodeKind("gpu", False, 2, None),
    NodeKind("old", False, 3, Gpus(2)),
]
HERE: dict[str, str] = {}


@pytest.fixture(scope="module")
def train() -> Train:
    return training(["+exp=imagenet_dnw"])


def launch(wants_gpus: bool = True, nproc: int | None = None, nodes: int = 2, **cluster: Any) -> Launch:
    return Launch(
        nodes=nodes,
        nproc=nproc,
        runs_dir=Path("runs"),
        fresh=False,
        dry_run=False,
        port=None,
        wants_gpus=wants_gpus,
        cluster=Cluster(**{"name": "slurm", "grace_s": 120, **cluster}),
    )


def settled(train: Train, asked: Launch, environment: dict[str, str] = HERE) -> Request:
    return gpu_request.settled(train, asked, False, lambda _nodes: KINDS, environment)


@pytest.mark.parametrize(
    ("more", "asked", "processes"),
    [
        ({"partition": "gpu"}, "a100:4", 4),  # the kind that most nodes have
        ({"partition": "gpu", "nodes": 8}, 4, 4),  # no kind has enough: what all of them have
        ({"partition": "gpu", "constraint": "fast&ib"}, 4, 4),
        ({"partition": "gpu", "nproc": 2}, "a100:2", 2),
        ({"partition": "old"}, 2, 2),
        ({"partition": "low,old"}, 2, 2),
        ({"partition": "gpu", "gpus_per_node": 1}, 1, 1),
        ({"partition": "gpu", "gpus_per_node": "v100:8"}, "v100:8", 8),
        ({"gpus_per_node": 0}, 0, 1),
        ({"partition": "gpu", "wants_gpus": False}, None, 1),
    ],
)
def test_what_the_nodes_have(train: Train, more: dict[str, Any], asked: Any, processes: int) -> None:
    found = settled(train, launch(**more))
    assert (found.launch.cluster.gpus_per_node, found.refusal) == (asked, None)
    assert found.launch.processes_per_node == processes


@pytest.mark.parametrize(
    ("whole", "asked"), [([], "1g.10gb:1"), ([NodeKind("gpu", True, 2, A100)], "a100:4")]
)
def test_of_slices_one_is_asked_for_and_none_where_there_are_whole_gpus(
    train: Train, whole: list[NodeKind], asked: str
) -> None:
    """Without a type Slurm might give slices in place of the whole ones."""
    kinds = [NodeKind("gpu", True, 9, Gpus(7, "1g.10gb"), has_slices=True), *whole]
    found = gpu_request.settled(train, launch(), False, lambda _nodes: kinds, HERE)
    assert found.launch.cluster.gpus_per_node == asked
    assert found.launch.processes_per_node == int(asked[-1])
    with pytest.raises(ConfigError, match=r"^cluster.gpus_per_node: 1g.10gb:7 are slices of GPUs"):
        settled(train, launch(additional_parameters={"gres": "gpu:1g.10gb:7"}))


def test_the_answer_says_what_was_chosen(train: Train) -> None:
    assert settled(train, launch(partition="gpu")).notes == (
        "cluster.gpus_per_node=a100:4, processes on each node: 4; nodes of partition gpu have "
        "6 nodes a100:4, 2 nodes v100:8, 2 nodes 0 GPUs",
    )
    on_cpus = settled(train, launch(gpus_per_node=0)).notes
    assert [note.partition(" (")[0] for note in on_cpus] == [
        "imagenet_dnw wants GPUs and trains with 2 processes on the CPU: about 6,400 hours"
    ]
    idle = settled(train, launch(gpus_per_node=8, nproc=2)).notes
    assert idle == ("6 of 8 GPUs of each node stay idle: nproc=2; leave nproc out",)


def test_gpus_that_slurm_does_not_know_of(train: Train) -> None:
    """Whole nodes are given, with what is in them."""
    bare = [NodeKind("gpu", True, 4, None)]
    refused = gpu_request.settled(train, launch(), False, lambda _nodes: bare, HERE).refusal or ""
    words = "cluster.gpus_by_slurm=false cluster.gpus_per_node=N"
    assert (
        f"partition gpu has none; no other has any that Slurm knows of (those of whole nodes: {words})"
        in refused
    )
    assert settled(train, launch(gpus_by_slurm=False)).refusal is not None
    found = settled(train, launch(gpus_by_slurm=False, gpus_per_node=4))
    assert (found.refusal, found.launch.gpus, found.launch.processes_per_node) == (None, 4, 4)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {},
            "cluster.partition: imagenet_dnw wants GPUs, and partition low has none; these have: "
            "gpu (6 nodes a100:4, 2 nodes v100:8), old (3 nodes 2). "
            "cluster.gpus_per_node=0 trains on the CPU",
        ),
        (
            {"partition": "gpu", "nodes": 9},
            "nodes=9: imagenet_dnw wants GPUs, and partition gpu has 8 nodes with some; these have: "
            "old (3 nodes 2). cluster.gpus_per_node=0 trains on the CPU",
        ),
        (
            {"partition": "nope"},
            "cluster.partition: imagenet_dnw wants GPUs, and partition nope has none; these have: "
            "gpu (6 nodes a100:4, 2 nodes v100:8), old (3 nodes 2). "
            "cluster.gpus_per_node=0 trains on the CPU",
        ),
    ],
)
def test_no_gpus(train: Train, more: dict[str, Any], said: str) -> None:
    assert settled(train, launch(**more)).refusal == said


def test_slurm_does_not_tell(train: Train) -> None:
    def ask(_nodes: str | None) -> list[NodeKind]:
        raise SlurmError("sinfo: not found here")

    found = gpu_request.settled(train, launch(), False, ask, HERE)
    assert found.refusal == (
        "cluster.gpus_per_node: Slurm doesn't tell which GPUs the nodes have (sinfo: not found here); type it"
    )
    assert gpu_request.settled(train, launch(gpus_per_node=2), False, ask, HERE).refusal is None


@pytest.mark.parametrize(
    ("options", "asked", "left"),
    [
        ({"gres": "gpu:2"}, 2, None),
        ({"gres": "gpu:a100:4,lustre:1"}, "a100:4", {"gres": "lustre:1"}),
        ({"gpus": 8, "mail-type": "END"}, 4, {"mail-type": "END"}),
        ({"gpus-per-task": "v100:2"}, "v100:2", None),
        ({"tres_per_task": "gres/gpu:2"}, 2, None),
        ({"gres": "lustre:1"}, None, {"gres": "lustre:1"}),
    ],
)
@pytest.mark.parametrize("by", ["typed", "default"])
def test_all_of_slurms_ways(
    train: Train, options: dict[str, Any], asked: Any, left: dict[str, Any] | None, by: str
) -> None:
    environment = {f"SBATCH_{key.replace('-', '_').upper()}": str(value) for key, value in options.items()}
    typed: dict[str, Any] = {"additional_parameters": options} if by == "typed" else {}
    wish = launch(wants_gpus=False, **typed)
    found = settled(train, wish, environment if by == "default" else HERE).launch
    assert found.cluster.gpus_per_node == asked
    assert found.cluster.additional_parameters == (left if by == "typed" else None)
    assert found.processes_per_node == (found.gpus or 1)


@pytest.mark.parametrize(
    "options",
    [{"gpus": 7}, {"gpus-per-socket": 2}, {"gres": "gpu:a100:2,gpu:v100:2"}, {"gres": "lustre:1,shard:4"}],
)
def test_what_only_the_job_can_count(train: Train, options: dict[str, Any]) -> None:
    found = settled(train, launch(additional_parameters=options))
    assert found == Request(launch(additional_parameters=options), (COUNTED_THERE,))


def test_two_ways_at_once(train: Train) -> None:
    with pytest.raises(ConfigError, match=r"both ask for GPUs \(got 4 and a100:2\); leave one out$"):
        settled(train, launch(gpus_per_node=4, additional_parameters={"gres": "gpu:a100:2"}))
    typed = settled(train, launch(gpus_per_node=4), {"SBATCH_GRES": "gpu:2"})  # a default is worth less
    assert typed.launch.cluster.gpus_per_node == 4


@pytest.mark.parametrize(("visible", "nproc", "asked"), [("0,1", None, 2), ("0,1", 1, 1), ("", None, None)])
def test_the_foreground_counts_what_is_to_be_seen(
    train: Train, monkeypatch: pytest.MonkeyPatch, visible: str, nproc: int | None, asked: int | None
) -> None:
    """As inside srun or salloc, with the cluster that is typed for a submission."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = gpu_request.settled(train, launch(nproc=nproc, nodes=1), in_foreground=True)
    assert found.launch.cluster.gpus_per_node == asked
    assert found.launch.processes_per_node == (asked or 1)
    assert any("trains with 1 process on the CPU" in note for note in found.notes) == (asked is None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ConfigError, match="nproc: each process needs a GPU of its own"):
        gpu_request.settled(train, launch(nproc=2, nodes=1), in_foreground=True)


@pytest.mark.parametrize(
    ("told", "visible", "given"),
    [("4", "0", 4), ("7", "MIG-a,MIG-b", 1), (None, "0,1", 2), (None, None, None), ("", None, None)],
)
def test_what_a_job_was_given(
    monkeypatch: pytest.MonkeyPatch, told: str | None, visible: str | None, given: int | None
) -> None:
    for name, value in (("SLURM_GPUS_ON_NODE", told), ("CUDA_VISIBLE_DEVICES", visible)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert gpus.given_gpus() == given


@pytest.fixture
def headline(lab: Path, launch_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Types the headline command with more words."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        line = [
            "launch/slurm.py",
            "+exp=imagenet_dnw",
            f"data.dir={launch_shards}",
            "data.classes=10",
            *words,
        ]
        monkeypatch.setattr(sys, "argv", line)
        return app.main(app.background)

    return run


def test_the_headline_command(headline: Typed, lab: Path, capfd: Captured) -> None:
    assert headline("nodes=2", "cluster.partition=gpu") == 0
    assert "note    cluster.gpus_per_node=a100:4, processes on each node: 4" in capfd.readouterr().out
    script = (lab / "script-0").read_text()
    assert "#SBATCH --gpus-per-node=a100:4\n" in script
    assert "#SBATCH --cpus-per-task=36\n" in script


def test_the_headline_command_without_gpus(headline: Typed, lab: Path, capfd: Captured) -> None:
    assert headline("nodes=2") == 2
    assert capfd.readouterr().err.startswith("cluster.partition: imagenet_dnw wants GPUs, and partition low")
    assert headline("nodes=2", "dry_run=true") == 2
    assert "# REFUSED: cluster.partition: imagenet_dnw wants GPUs" in capfd.readouterr().out
    assert not list(lab.glob("script-*"))
    assert headline("nodes=2", "cluster.gpus_per_node=0") == 0
    assert "trains with 2 processes on the CPU: about 6,400 hours" in capfd.readouterr().out


def test_a_default_for_sbatch_is_no_second_word(
    typed: Typed, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_GRES", "gpu:2,lustre:1")
    monkeypatch.setenv("SBATCH_GPUS_PER_TASK", "1")
    assert typed("cluster.gpus_per_node=1") == 0
    assert "SBATCH_GRES=lustre:1\n" in (lab / "env").read_text()
    assert "SBATCH_GPUS" not in (lab / "env").read_text()


def test_a_sweep_asks_once(headline: Typed, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab / "bin" / "sinfo").write_text('#!/bin/sh\necho >>"$LAB/asked"\ncat "$LAB/nodes"\n')
    assert headline("-m", "cluster.partition=old", "seed=0,1,2") == 0
    assert (lab / "asked").read_text() == "\n"


def test_processes_that_cannot_share_a_step(headline: Typed, capfd: Captured) -> None:
    words = ["cluster.partition=gpu", "nodes=4", "dry_run=true"]
    assert headline(*words, "micro_batch=64") == 2
    assert capfd.readouterr().err == (
        "nodes, nproc: 4 x 4 = 16 processes can't share the 8 micro-batches of a step (batch=512, "
        "micro_batch=64); cluster.gpus_per_node=2 changes nothing in the result, but for the rounding of "
        "sums; type micro_batch=32 for 16 processes, which makes it another run: BatchNorm sees 32 images at "
        "once instead of 64, and the result differs; or these numbers of processes can: 1, 2, 4, 8\n"
    )
    assert headline(*words, "micro_batch=64", "cluster.gpus_per_node=2") == 0
    assert headline(*words, "micro_batch=32") == 0


def test_reduce_exact_wants_a_power_of_two(typed: Typed, capfd: Captured) -> None:
    words = ["batch=96", "micro_batch=8", "reduce=exact", "nodes=3", "nproc=2", "dry_run=true"]
    assert typed(*words) == 2
    assert "); type reduce=fast for 6 processes, which makes it another run: bits depend on the number " in (
        capfd.readouterr().err
    )
    assert typed(*words, "reduce=fast") == 0


def test_what_is_typed_may_name_a_type() -> None:
    assert launch(gpus_per_node="a100:4").gpus == 4
    assert launch(gpus_per_node="4").cluster.gpus_per_node == 4
