"""Experiments, recipes, and what belongs to the launch."""

import dataclasses
import re
import shlex
import typing
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from dnw import config
from dnw.compose import CONFIGS, training
from dnw.config import ConfigError, Train
from dnw.config.wiring import USED_BY
from dnw.identity import signature
from launch import compose, gpus
from launch.config import Cluster, Launch, check_agent, check_processes, split

CLUSTER = Cluster(name="slurm", timeout_min=60, signal_delay_s=120, grace_s=60)
LAUNCH = Launch(
    nodes=1, nproc=None, runs_dir=Path("runs"), fresh=False, dry_run=False, port=None, cluster=CLUSTER
)


@pytest.mark.parametrize("name", sorted(compose.experiments()))
def test_every_experiment_is_whole(name: str) -> None:
    train = training([f"+exp={name}"])
    assert train.exp == name
    text = (CONFIGS / "exp" / f"{name}.yaml").read_text()
    assert f"+exp={name}" in text  # its command
    assert "# Recipe: " in text


@pytest.mark.parametrize(
    ("name", "recipe"),
    [  # batch, epochs, rate, momentum, decay, schedule: what the paper's own code has
        ("static_dnw", (512, 160, 0.1, 0.9, 1e-4, "multistep")),
        ("cifar_dnw", (128, 160, 0.1, 0.9, 1e-4, "cosine")),
        ("imagenet_dnw", (512, 250, 0.1, 0.9, 5e-5, "cosine")),
        ("resnet50_sparse", (256, 100, 0.256, 0.875, 2**-15, "cosine")),
        ("cifar_fine_tune", (128, 160, 0.01, 0.9, 1e-4, "cosine")),
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
    shown = compose.experiments()["imagenet_dnw"]
    assert shown.startswith("MobileNetV1-like, wiring discovered, any width; ImageNet")


def defaults(kind: Any, prefix: str = "") -> dict[str, object]:
    """Every default that a configuration dataclass states itself, by dotted key, as YAML has it."""
    found: dict[str, object] = {}
    for field in dataclasses.fields(kind):
        key, inner = f"{prefix}{field.name}", typing.get_type_hints(kind)[field.name]
        if dataclasses.is_dataclass(inner):
            found |= defaults(inner, f"{key}.")
        elif field.default is not dataclasses.MISSING:
            found[key] = list(field.default) if isinstance(field.default, tuple) else field.default
    return found


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@pytest.mark.parametrize("group", ["slurm", "local"])
def test_defaults_stand_alike_in_code_and_in_configs(group: str) -> None:
    """Code that builds a configuration by itself, and YAML that is composed, must mean the same."""
    cluster = yaml.safe_load((CONFIGS / "cluster" / f"{group}.yaml").read_text())
    shown = flat({**yaml.safe_load((CONFIGS / "config.yaml").read_text()), "cluster": cluster})
    stated = {**defaults(Train), **defaults(Launch)}
    if group == "slurm":
        stated["cluster.srun_args"] = ["--kill-on-bad-exit=1"]  # srun is there
    in_groups = {key for key in stated if shown.get(key, "???") == "???"}
    of_a_wiring = [f"wiring.{name}" for name in USED_BY]  # in the files of those that use it
    elsewhere = ("data.", "optim.", "version", "epochs", "self_test", *of_a_wiring)
    assert all(key.startswith(elsewhere) for key in in_groups), in_groups
    assert {key: shown[key] for key in stated.keys() - in_groups} == {
        key: value for key, value in stated.items() if key not in in_groups
    }


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
    cluster: Literal["slurm", "local"],
    processes: int,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5")
    changed = dataclasses.replace(CLUSTER, name=cluster, gpus_per_node=gpus_per_node)
    assert dataclasses.replace(LAUNCH, nproc=nproc, cluster=changed).processes_per_node == processes


@pytest.mark.parametrize(
    ("nproc", "gpus_per_node", "cluster", "visible", "gpus"),
    [
        (None, None, "slurm", "0,1", None), (4, 8, "slurm", "", 8), (None, 0, "slurm", "0,1", 0),
        (None, None, "local", "0,1,2", 3), (2, None, "local", "0,1,2", 2), (2, None, "local", "", None),
        (2, 0, "local", "0,1,2", 0),
    ],
)  # fmt: skip
def test_gpus_to_train_on(
    monkeypatch: pytest.MonkeyPatch,
    nproc: int | None,
    gpus_per_node: int | None,
    cluster: Literal["slurm", "local"],
    visible: str,
    gpus: int | None,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    changed = dataclasses.replace(CLUSTER, name=cluster, gpus_per_node=gpus_per_node)
    assert dataclasses.replace(LAUNCH, nproc=nproc, cluster=changed).gpus == gpus


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    two = {**dataclasses.asdict(LAUNCH), "nproc": 2}
    said = (
        r"^nproc: each process needs a GPU of its own \(2 processes, 1 GPUs on a node\); nproc=1, or "
        r"cluster.gpus_per_node=0 to train on the CPU$"
    )
    with pytest.raises(ConfigError, match=said):
        split(two | {"cluster": {**two["cluster"], "name": "local"}})
    with pytest.raises(ConfigError, match=said):
        split(two | {"cluster": {**two["cluster"], "name": "slurm", "gpus_per_node": 1}})
    split(two | {"cluster": {**two["cluster"], "name": "local", "gpus_per_node": 0}})


@pytest.mark.parametrize(
    ("named", "found"),
    [
        *(("", []), ("-1", []), ("0,1", ["0", "1"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])),
        ("MIG-a,MIG-b", ["MIG-a"]),  # CUDA shows a process no more
    ],
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
    with pytest.raises(
        ConfigError, match=r"micro_batch=16\); nproc=3 changes .* sums; these .*: 1, 2, 3, 6$"
    ):
        check_processes(train, dataclasses.replace(LAUNCH, nodes=1, nproc=5))  # nor any other micro-batch


@pytest.mark.parametrize("words", [["+exp=static_dnw"], ["+exp=resnet50_sparse", "reduce=exact"]])
def test_the_micro_batch_that_is_offered_works(words: list[str]) -> None:
    launch = dataclasses.replace(LAUNCH, nodes=4, nproc=16)
    with pytest.raises(ConfigError) as refused:
        check_processes(training(words), launch)
    offered = re.search(
        r"type (micro_batch=(\d+)) for 64 processes, which makes it another run: BatchNorm sees \2 images at "
        r"once instead of \d+, and the result differs; or these numbers of processes can: 1, 2, ",
        str(refused.value),
    )
    assert offered
    train = training([*words, offered[1]])
    check_processes(train, launch)
    assert signature(train) != signature(training(words))


FEWER = {"medium": 2, "small": 8}  # processes that recipes made for one GPU share a step among


@pytest.mark.parametrize("name", sorted(compose.experiments()))
def test_every_experiment_on_1_to_16_processes(name: str) -> None:
    recipe = re.search(r"Recipe: (\w+)", (CONFIGS / "exp" / f"{name}.yaml").read_text())
    assert recipe
    train = training([f"+exp={name}"])
    for processes in (1, 2, 4, 8, 16):
        launch = dataclasses.replace(LAUNCH, nodes=max(1, processes // 8), nproc=min(8, processes))
        if processes <= FEWER.get(recipe[1], 16):
            check_processes(train, launch)
            continue
        size = train.batch // processes
        with pytest.raises(ConfigError, match=rf"type micro_batch={size} for {processes} processes"):
            check_processes(train, launch)
        check_processes(training([f"+exp={name}", f"micro_batch={size}"]), launch)


def shown_commands() -> list[str]:
    """Every submission that documents, configurations and the help show, of an experiment by its name."""
    root = CONFIGS.parent
    files = [root / "README.md", *(root / "docs").glob("*.md"), *CONFIGS.rglob("*.yaml")]
    text = "\n".join(path.read_text() for path in sorted(files))
    found = re.findall(r"python launch/(?:slurm|local)\.py ((?:-m )?\+exp=[a-z].*)", text)
    return sorted({re.split(r"  |#|`|, until|\[key", line)[0].strip() for line in found})


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_that_is_shown_has_processes_that_share_a_step(line: str) -> None:
    for composed in compose.compose(shlex.split(line.split(" wiring.source=", maxsplit=1)[0])):
        values, launch = split(composed.values)
        if launch.self_test is None:  # that shares nothing: its cases choose their own batches
            check_processes(config.parse(values), launch)


def test_the_commands_that_are_shown_are_found() -> None:
    lines = shown_commands()
    assert "+exp=imagenet_dnw nodes=2 cluster.partition=gpu" in lines
    assert "-m +exp=imagenet_dnw width=0.15,0.225,0.3,0.49 nodes=2" in lines
    assert len(lines) > 35


@pytest.mark.parametrize(("batch", "possible"), [(96, "1, 2"), (128, "1, 2, 4, 8"), (80, "1")])
def test_processes_that_cannot_share_a_tree(batch: int, possible: str) -> None:
    train = training(["+exp=cifar_dnw", f"batch={batch}", "micro_batch=16", "reduce=exact"])
    for nproc in map(int, possible.split(", ")):
        check_processes(train, dataclasses.replace(LAUNCH, nodes=1, nproc=nproc))
    for nproc in (3, 5, 6, 16):
        with pytest.raises(ConfigError, match=rf"^nodes, nproc: .*, reduce=exact\); .* can: {possible}$"):
            check_processes(train, dataclasses.replace(LAUNCH, nodes=1, nproc=nproc))


def settled(**cluster: object) -> Cluster:
    """What becomes of settings as Hydra hands them over."""
    given = {"name": "slurm", "grace_s": 120} | cluster
    launch = {"nodes": 1, "nproc": 1, "runs_dir": "runs", "fresh": False, "dry_run": False, "port": None}
    return split({**launch, "cluster": given})[1].cluster


@pytest.mark.parametrize(
    ("given", "limit_min"),
    [
        ({}, 1440), ({"name": "local"}, 525600), ({"timeout_min": 7}, 7), ({"time": 60}, 60),
        ({"time": "90"}, 90), ({"time": "1-12"}, 2160), ({"time": "0:10:01"}, 11),
    ],
)  # fmt: skip
def test_time_limits(given: dict[str, object], limit_min: int) -> None:
    assert settled(**given).limit_min == limit_min


def test_options_in_slurms_own_forms() -> None:
    cluster = settled(mem="64G", exclude=["n1", "n2"], nodelist="n[3-4]", partition=["a", "b"])
    assert (cluster.mem, cluster.exclude, cluster.nodelist, cluster.partition) == (
        *("64G", "n1,n2", "n[3-4]", "a,b"),
    )
    assert settled(mem=500).mem == "500"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time": "2:00:00", "timeout_min": 90},
         r"^cluster.time, cluster.timeout_min: both say .* \(got 2:00:00 and 90\); leave one out$"),
        ({"mem": "64G", "mem_gb": 64}, r"^cluster.mem, cluster.mem_gb: both say the same thing"),
        ({"time": "soon"}, r"^cluster.time: must be a time limit in one of Slurm's forms, MINUTES, .*'soon'"),
        ({"time": 45000}, r"^cluster.time: must be .* in quotes .* YAML reads 12:30:00 as 45000 \(got"),
        ({"mem": "64Q"}, r"^cluster.mem: must be a number, of megabytes"),
        ({"additional_parameters": {"time": "60"}},
         r"^cluster.additional_parameters: 'time' has a setting of its own: cluster.time$"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_or_say_nothing(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settled(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"container": "/no/such.sif"}, "cluster.container: /no/such.sif: not there"),
        ({"container": "~/no such folder"}, "no such folder: not there"),
        ({"python": "/no/such/python"}, "cluster.python: /no/such/python: not there, or not executable"),
        ({"container": "docker://a/b", "python": "/opt/conda/bin/python"}, None),
        ({"container": "nvcr.io#nvidia/pytorch:25.01-py3", "container_runtime": "pyxis"}, None),
    ],
)
def test_an_image_or_interpreter_that_is_not_there(given: dict[str, object], said: str | None) -> None:
    if said is None:
        check_agent(settled(**given))
        return
    with pytest.raises(ConfigError, match=said):
        check_agent(settled(**given))


def test_each_kind_of_cluster_has_all_settings() -> None:
    """Else one that is typed for the wrong kind is called unknown instead of without effect."""
    found = [
        set(yaml.safe_load((CONFIGS / "cluster" / f"{name}.yaml").read_text())) for name in ("local", "slurm")
    ]
    assert found == 2 * [{field.name for field in dataclasses.fields(Cluster)}]


def test_variables_that_the_launcher_sets_are_refused() -> None:
    values = dataclasses.asdict(LAUNCH) | {"environment": {"TMPDIR": "/scratch"}}
    with pytest.raises(ConfigError, match="other than TMPDIR, which the launcher itself sets"):
        config.parse_as(Launch, values)


def test_a_variable_is_a_text() -> None:
    values = dataclasses.asdict(LAUNCH) | {"environment": {"FOO": None}}
    with pytest.raises(ConfigError, match="must be texts: null is none; a variable is left out, or empty"):
        config.parse_as(Launch, values)
    values["environment"] = {"FOO": ""}
    assert config.parse_as(Launch, values).environment == {"FOO": ""}
