"""The launch configuration: where a run runs and on how many processes. None of it changes the result."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool
from pydantic.dataclasses import dataclass

from dnw import processes, setting_errors
from dnw.config import ConfigError, Folder, Train, parse_as
from dnw.invocation import SUBMIT
from dnw.ranges import STRICT, Count, Positive, Size, Words
from dnw.setting_errors import known_keys
from launch.gpus import visible_gpus
from launch.scheduler import gres, sbatch_options, time_limit

CPU_PROCESSES = 1  # a node without GPUs: more of them compete for the same cores
LIMIT_MIN = {"slurm": 24 * 60, "local": 365 * 24 * 60}  # nobody else waits for this machine

# of the environment
OWN_VARIABLES = frozenset(
    {
        "PYTHONPATH",
        "PYTHONSAFEPATH",
        "TMPDIR",
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    }
)
# settings of a cluster that mean something where there is no Slurm
AGENT = frozenset({"container", "container_runtime", "container_args", "python"})
NO_PACK_HERE = f"pack: here runs go one after the other; leave it out, or submit them: {SUBMIT}"
FOREGROUND = AGENT | {"grace_s", "gpus_per_node"}
LOCAL = FOREGROUND | {"name", "timeout_min", "time", "signal_delay_s"}


def _checked_time(text: str) -> str:
    time_limit.seconds(text)
    return text


def _checked_memory(text: str) -> str:
    if re.fullmatch(r"\d+[KMGT]?", text, re.IGNORECASE) is None:
        raise ValueError("a number, of megabytes, or of what K, M, G or T behind it says")
    return text


def _joined(value: Any) -> Any:
    """Return a list as Slurm writes it: Hydra would take n1,n2 for a sweep, so one types [n1,n2]."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _gpus(value: Any) -> Any:
    """Return a number of GPUs as such, and one of a certain type as Slurm writes it: a100:4."""
    asked = gres.amount(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if value is not None and asked is None:
        raise ValueError("a number, or a type and a number such as a100:4")
    return value if asked is None else str(asked) if asked.type else asked.count


def _checked_variables(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
            raise ValueError(f"variables, each named by letters, digits and _, not {name!r}")
        if name.startswith("DNW_") or name in OWN_VARIABLES:
            raise ValueError(f"variables other than {name}, which the launcher itself sets")
    return values


def _text_of_variable(value: Any) -> Any:
    if value is None:
        raise ValueError("texts: null is none; a variable is left out, or empty as in environment.NAME=''")
    return str(value) if isinstance(value, int | float) else value


Addresses = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v or ())]
Names = Annotated[str, BeforeValidator(_joined)]
Variables = Annotated[
    dict[str, Annotated[str, BeforeValidator(_text_of_variable)]],
    AfterValidator(_checked_variables),
]
GpusPerNode = Annotated[Count | str | None, BeforeValidator(_gpus)]
Time = Annotated[str, BeforeValidator(time_limit.text), AfterValidator(_checked_time)]
Memory = Annotated[
    str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v), AfterValidator(_checked_memory)
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cluster:
    """Where jobs go, and what they ask for; names and units as submitit has them."""

    name: Literal["slurm", "local"]
    timeout_min: Positive | None = None
    time: Time | None = None  # the same in Slurm's own forms
    signal_delay_s: Positive | None = None  # None until launch/grace_period.py has chosen
    grace_s: Positive
    gpus_per_node: GpusPerNode = None  # or of one type, a100:4; None until launch/gpu_request.py has chosen
    gpus_by_slurm: bool = True  # that it has them to give; else they come with the node
    cpus_per_task: Positive | None = None
    mem_gb: Size | None = None
    mem: Memory | None = None  # the same in Slurm's own form
    partition: Names | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    interface: str | None = None
    exclude: Names | None = None
    nodelist: Names | None = None
    array_parallelism: Positive = 256
    requeue: bool = True  # the job asks Slurm to start it again
    container: str | None = None  # of agent and workers: launch/node/container.py
    container_runtime: Literal["apptainer", "pyxis"] = "apptainer"
    container_args: tuple[str, ...] = ()
    python: str | None = None  # of agent and workers; None: the one of this command, or the image's python3
    setup: tuple[str, ...] = ()
    srun_args: tuple[str, ...] = ()
    additional_parameters: dict[str, str | int | float | bool] | None = None

    @property
    def gpus(self) -> int | None:
        """How many GPUs of each node are asked for."""
        asked = gres.amount(str(self.gpus_per_node))
        return asked.count if asked else None

    @property
    def limit_s(self) -> int:
        """The time limit of a job, in seconds."""
        if self.time is not None:
            return time_limit.seconds(self.time)
        return 60 * (self.timeout_min or LIMIT_MIN[self.name])

    @property
    def limit_min(self) -> int:
        """The same in minutes, as Slurm rounds it: up."""
        return math.ceil(self.limit_s / 60)

    @property
    def limit_name(self) -> str:
        """The setting that the limit comes from."""
        return "cluster.timeout_min" if self.time is None else "cluster.time"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Notify:
    """Who is told what becomes of a run."""

    command: str | None = None  # see launch/node/notify.py
    mail: Addresses = ()
    smtp: str | None = None  # mail server; None: sendmail
    slack: StrictBool | str = False  # or the file that holds the webhook: launch/node/notices/secret.py
    ntfy: StrictBool | str = False  # or the file that holds the topic


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfTest:
    """What the self-test does; see docs/self_test.md."""

    only: tuple[str, ...] = ()  # checks to make; (): all
    faults: tuple[str, ...] = ()  # checks that shall fail: what they must find is put in on purpose


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Launch:
    """How one run is launched this time."""

    nodes: Positive
    nproc: Positive | None
    runs_dir: Folder
    fresh: bool
    code: Literal["frozen", "new"] = "frozen"  # of a run that goes on: what it has, or the present one
    dry_run: bool
    port: Annotated[int, Field(gt=1023, lt=65536)] | None  # lower ones are root's
    wait: bool = False
    after: Words = ()  # runs that have to be done before
    pack: Positive | None = None  # runs of a sweep that share a job, at most: launch/pack/
    environment: Variables = dataclasses.field(default_factory=dict)  # of agent and workers
    error_retries: Count = 0
    resume_diverged: bool = False
    wants_gpus: bool = False  # without a number the nodes' GPUs are asked for, and none are refused
    notify: Notify = Notify()
    self_test: SelfTest | None = None  # this is the self-test, not a training
    cluster: Cluster

    @property
    def processes_per_node(self) -> int:
        """Training processes on each node: as asked for, else one per GPU of the node, else one."""
        return self.nproc or self.gpus or CPU_PROCESSES

    @property
    def gpus(self) -> int | None:
        """GPUs of each node to train on; None: nobody said, and none are to be seen."""
        asked = self.cluster.gpus
        if asked is None and self.cluster.name == "local":
            visible = len(visible_gpus())
            return min(self.nproc or visible, visible) or None
        return asked


KEYS = (*known_keys(Train), *known_keys(Launch))  # of all settings


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
    """Return what to say of a key that no configuration has."""
    return setting_errors.no_such_setting(key, KEYS)


def is_launch_key(key: str) -> bool:
    """Whether a dotted key, or a config group, belongs to the launch configuration."""
    return key.split(".", maxsplit=1)[0] in {field.name for field in dataclasses.fields(Launch)}


def without_effect(overrides: Iterable[str], effective: frozenset[str]) -> list[str]:
    """Return the settings of the cluster that were typed, and are none of those that have an effect."""
    keys = (word.lstrip("+~").partition("=")[0] for word in overrides)
    typed = dict.fromkeys(key for key in keys if key.startswith("cluster."))
    return [key for key in typed if key.removeprefix("cluster.") not in effective]


def check_effect(launch: Launch, overrides: Iterable[str]) -> None:
    """Refuse settings that were typed for Slurm, where there is none.

    Raises:
        ConfigError: with their names.
    """
    if launch.cluster.name == "local" and (keys := without_effect(overrides, LOCAL)):
        raise ConfigError(
            f"{', '.join(keys)}: no effect with cluster=local, which starts the job here and at once; leave "
            "out, or submit to Slurm with cluster=slurm"
        )


def check_processes(train: Train, launch: Launch) -> None:
    """Refuse a number of processes that can't share a step.

    Raises:
        ConfigError: with the numbers that can.
    """
    nodes, each = launch.nodes, launch.processes_per_node
    said = f"nodes, nproc: {nodes} x {each} = {nodes * each} processes"
    fewer = max((n for n in range(1, each) if processes.can_share(train, nodes * n)), default=None)
    word = "cluster.gpus_per_node" if launch.gpus else "nproc"
    typed = f"{word}={fewer}" if fewer else ""
    processes.check_processes(train, nodes * each, said, fewer=typed)


def _check(launch: Launch) -> None:
    cluster = launch.cluster
    if cluster.name == "local" and launch.nodes > 1:
        raise ConfigError(f"nodes: this machine is one (got {launch.nodes}); use nproc, or Slurm")
    check_gpus(launch)
    if problems := [
        *_said_twice(cluster),
        *sbatch_options.refusals(cluster.additional_parameters or {}, cluster.srun_args),
        *_broken_lines(cluster),
        *_typed_gpus(cluster),
        *_both_ways(launch),
        *_of_container(cluster),
        *_of_pack(launch),
    ]:
        raise ConfigError("\n".join(problems))


def check_gpus(launch: Launch) -> None:
    """Refuse more processes than GPUs, and more slices of GPUs than one.

    Raises:
        ConfigError: with the number that works.
    """
    asked = gres.amount(str(launch.cluster.gpus_per_node))
    if asked and asked.are_slices and asked.count > 1:
        raise ConfigError(
            f"cluster.gpus_per_node: {asked} are slices of GPUs, of which CUDA shows a process but one, and "
            f"NCCL joins none; {asked.type}:1, or whole GPUs"
        )
    processes, gpus = launch.processes_per_node, launch.gpus
    if gpus and processes > gpus:
        raise ConfigError(
            f"nproc: each process needs a GPU of its own ({processes} processes, {gpus} GPUs on a node); "
            f"nproc={gpus}, or cluster.gpus_per_node=0 to train on the CPU"
        )


def _typed_gpus(cluster: Cluster) -> Iterator[str]:
    if cluster.name == "local" and isinstance(cluster.gpus_per_node, str):
        asked = cluster.gpus_per_node
        yield f"cluster.gpus_per_node: {asked} is for Slurm; here cluster.gpus_per_node={cluster.gpus}"


def _both_ways(launch: Launch) -> Iterator[str]:
    if launch.fresh and launch.resume_diverged:
        yield "fresh, resume_diverged: the one begins anew, the other goes on; leave one out"


def _of_pack(launch: Launch) -> Iterator[str]:
    if launch.pack is None:
        return
    if launch.nodes > 1:
        yield f"pack: runs that share a job are on one node (got nodes={launch.nodes}); leave one of both out"
    if launch.port is not None:
        yield "pack, port: runs that share a node can't share a port; leave port out, which finds free ones"
    if launch.self_test is not None:
        yield "pack: the self-test needs its nodes for itself; leave pack out"
    if launch.cluster.name == "local":
        yield "pack: with cluster=local all runs of a sweep share this machine anyway; leave pack out"


def is_path(image: str) -> bool:
    """Whether an image is a file or a folder, and not what a registry has under that name."""
    is_file = image.startswith(("/", ".", "~")) or image.endswith((".sif", ".simg", ".sqsh"))
    return is_file and "://" not in image


def check_agent(cluster: Cluster) -> None:
    """Refuse an image or an interpreter that is a path, and isn't there.

    Raises:
        ConfigError: with its name.
    """
    image, python = cluster.container, cluster.python
    if image is not None and is_path(image) and not Path(image).expanduser().exists():
        path = Path(image).expanduser().absolute()
        raise ConfigError(f"cluster.container: {path}: not there; a path, or docker://NAME and the like")
    if image is None and python and shutil.which(Path(python).expanduser()) is None:
        raise ConfigError(f"cluster.python: {python}: not there, or not executable")


def _of_container(cluster: Cluster) -> Iterator[str]:
    if cluster.container is None and cluster.container_args:
        yield "cluster.container_args: there is no container; name one with cluster.container="
    if cluster.container_runtime == "pyxis" and cluster.name == "local":
        yield "cluster.container_runtime: pyxis is Slurm's; here leave it out, for apptainer"


def _said_twice(cluster: Cluster) -> Iterator[str]:
    for one, other in (("time", "timeout_min"), ("mem", "mem_gb")):
        values = getattr(cluster, one), getattr(cluster, other)
        if None not in values:
            yield (
                f"cluster.{one}, cluster.{other}: both say the same thing (got {values[0]} and {values[1]}); "
                "leave one out"
            )


def _broken_lines(cluster: Cluster) -> Iterator[str]:
    """Lines of the script are ended by what these values may not have in them; shell lines of `setup` may."""
    values = {field.name: getattr(cluster, field.name) for field in dataclasses.fields(cluster)}
    del values["setup"], values["additional_parameters"]
    more = cluster.additional_parameters or {}
    values |= {f"additional_parameters.{key}": value for key, value in more.items()}
    for key, value in values.items():
        if not "".join(value if isinstance(value, tuple) else str(value)).isprintable():
            yield f"cluster.{key}: must be on one line, without control characters (got {value!r})"
        elif value == "" and "." not in key:  # as of a variable of the shell that isn't set
            yield f"cluster.{key}: must not be empty; leave it out, or write cluster.{key}=null"
