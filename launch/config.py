"""The launch configuration: where a run runs and on how many processes. None of it changes the result."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from dnw.config import ConfigError, Positive, Train, did_you_mean, divisors, known_keys, parse_as
from launch.gpus import visible_gpus

STRICT = ConfigDict(extra="forbid")
CPU_PROCESSES = 1  # a node without GPUs: more of them compete for the same cores


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cluster:
    """Where jobs go, and what they ask for; names and units as submitit has them."""

    name: Literal["slurm", "local"]
    timeout_min: Positive
    signal_delay_s: Positive
    grace_s: Positive
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    cpus_per_task: Positive | None = None
    mem_gb: Annotated[float, Field(gt=0)] | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    array_parallelism: Positive = 256
    setup: tuple[str, ...] = ()
    srun_args: tuple[str, ...] = ()
    additional_parameters: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Launch:
    """How one run is launched this time."""

    nodes: Positive
    nproc: Positive | None
    runs_dir: Path
    fresh: bool
    dry_run: bool
    port: Annotated[int, Field(gt=0, lt=65536)] | None
    error_retries: Annotated[int, Field(ge=0)] = 0
    cluster: Cluster

    @property
    def processes_per_node(self) -> int:
        """Training processes on each node: as asked for, else one per GPU of the node, else one."""
        if self.nproc is not None:
            return self.nproc
        gpus = self.cluster.gpus_per_node
        if gpus is None and self.cluster.name == "local":
            gpus = len(visible_gpus())
        return gpus or CPU_PROCESSES


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], Launch]:
    """Part what Hydra composed into the values of the training configuration and the launch configuration.

    Raises:
        ConfigError: a key that neither of them has, or a launch setting that isn't valid.
    """
    train_fields = {field.name for field in dataclasses.fields(Train)}
    launch_fields = {field.name for field in dataclasses.fields(Launch)}
    unknown = sorted(values.keys() - train_fields - launch_fields)
    if unknown:
        raise ConfigError("\n".join(no_such_setting(key) for key in unknown))
    launch = parse_as(Launch, {key: values[key] for key in launch_fields if key in values})
    _check(launch)
    return {key: value for key, value in values.items() if key in train_fields}, launch


def no_such_setting(key: str) -> str:
    """What to say of a key that no configuration has."""
    nearest = did_you_mean(key, [*known_keys(Train), *known_keys(Launch)])
    return f"{key}: no such setting{nearest}"


def is_launch_key(key: str) -> bool:
    """Whether a dotted key, or a config group, belongs to the launch configuration."""
    return key.split(".", maxsplit=1)[0] in {field.name for field in dataclasses.fields(Launch)}


def check_processes(train: Train, launch: Launch) -> None:
    """Refuse a number of processes that can't share a step evenly.

    Raises:
        ConfigError: with the numbers that can.
    """
    processes = launch.nodes * launch.processes_per_node
    parts = train.batch // train.micro_batch
    if parts % processes:
        raise ConfigError(
            f"nodes, nproc: {launch.nodes} x {launch.processes_per_node} = {processes} processes can't share "
            f"the {parts} micro-batches of a step (batch={train.batch}, micro_batch={train.micro_batch}); "
            f"these numbers of processes can: {', '.join(map(str, divisors(parts)))}"
        )


def _check(launch: Launch) -> None:
    cluster = launch.cluster
    if cluster.name == "local" and launch.nodes > 1:
        raise ConfigError(f"nodes: this machine is one (got {launch.nodes}); use nproc, or Slurm")
    if cluster.grace_s > cluster.signal_delay_s:
        raise ConfigError(
            f"cluster.grace_s: {cluster.grace_s} s to save in, but Slurm ends the job "
            f"{cluster.signal_delay_s} s after its signal; raise cluster.signal_delay_s"
        )
    for key in cluster.additional_parameters:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", key):
            raise ConfigError(f"cluster.additional_parameters: {key!r} is no sbatch option")
