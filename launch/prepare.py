"""From a composed configuration to a run folder: checked here, before a node is spent, then frozen.

A run folder appears whole or not at all: it is written under another name beside its own, then renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnw import config, model_registry, nondeterministic, optimizer_registry, schedule, user_classes
from dnw.config import ConfigError, Data, Train
from dnw.identity import signature
from dnw.pretrained.resolve import NotFetchedError, resolve_weights
from dnw.runs import class_names, source_run
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError, Lock
from dnw.tracking import sweep
from launch import earlier_run, frozen_config, gpu_request, grace_period, loader_cores, new_code, snapshot
from launch.compose import Composed
from launch.config import Launch, SelfTest, check_agent, check_effect, check_processes, split
from launch.errors import LaunchError, check_writable, not_written
from launch.gpu_request import Asks, Request
from launch.grace_period import Need
from launch.node import tracking
from launch.node.notices.channels import check as check_notify
from launch.scheduler import gres
from launch.self_test import settings as self_test
from shards.classes import Names
from shards.errors import ShardError
from shards.files.folder_entries import matching
from shards.user_class.names import is_user_class

if TYPE_CHECKING:
    from shards.index import Index

# Slurm's and submitit's %j, Slurm's \\ against it, PYTHONPATH's : and what ends a line of the script
_UNFIT = re.compile(r"[%\\:\x00-\x1f\x7f]")
Packs = Callable[..., bytes]  # snapshot.pack


@dataclass(frozen=True)
class RunPlan:
    """A run that may be launched: everything about it was checked, nothing written yet."""

    run: Run
    train: Train
    launch: Launch
    need: Need | None = None  # to stop in, where earlier attempts have measured it
    notes: tuple[str, ...] = ()  # what to tell of it
    words: tuple[str, ...] = ()  # that were typed
    missing: tuple[str, ...] = ()  # in a dry run, why its images or its source aren't known
    to_fetch: tuple[str, ...] = ()  # in a dry run, weights that the launch will fetch
    refused: tuple[str, ...] = ()  # in a dry run, what else the line would be refused for
    classes: Names = None  # of its images
    files: tuple[tuple[str, bytes], ...] = ()  # of the user's own classes, by their names in the code
    sweep: str | None = None  # the name of the sweep that it is one of
    follows: tuple[Run, ...] = ()  # runs that have to be done first, and aren't: launch/pipeline/

    @property
    def outside(self) -> tuple[Path, ...]:
        """Folders that hold no code, and a file that is none."""
        weights = Path(self.train.init)
        return (self.launch.runs_dir, self.train.data.dir, *([weights] if weights.is_absolute() else []))


def plan(
    composed: Composed,
    in_foreground: bool = False,
    ask: Asks = gres.node_kinds,
    planned: source_run.Configs | None = None,
) -> RunPlan:
    """Check a configuration against itself, the processes, the images and the file system; name its folder.

    A run that exists already keeps its folder: all that its result depends on is the same, or the signature
    would differ.

    Args:
        composed: what was typed.
        in_foreground: it is to run here and now.
        ask: tells which kinds of nodes Slurm has.
        planned: runs of the same command line that it may begin with; None: it may with finished ones alone.

    Raises:
        ConfigError: settings that can't be run.
        shards.errors.ShardError: shards that can't be used.
        LaunchError: no run folder can be made there.
    """
    train, launch = _checked(composed)
    request = _gpus(train, launch, in_foreground, ask)
    launch = request.launch
    if launch.self_test is not None:
        return _plan_self_test(train, request, launch.self_test, composed.overrides)
    train, files = user_classes.freeze(train)
    check_processes(train, launch)
    if launch.gpus:
        nondeterministic.check(train)
    parent = _parent(launch, train)
    train, val, missing, to_fetch = _resolved(train, launch, planned)
    is_known = not (missing or to_fetch)
    run = _named(parent, composed, train if is_known else None, launch.fresh)
    there = _to_go_on_with(run, launch.fresh)
    need = grace_period.measured(run, train.batch, launch.nodes * launch.processes_per_node)
    notes = (
        *(*request.notes, *tracking.check(train, launch.environment)),
        *filter(None, [loader_cores.doubt(train, launch)]),
        *(earlier_run.earlier(train, run) if is_known else ()),
        *(earlier_run.left_out(train, there, composed.overrides) if there and launch.code != "new" else ()),
        *filter(None, [_compare_classes(val, train, there)]),
    )
    launch = dataclasses.replace(launch, cluster=grace_period.settled(launch.cluster, need))
    refused = (request.refusal,) if request.refusal else ()
    names = None if val is None else val.classes
    return RunPlan(
        run, train, launch, need, notes, composed.overrides, missing, to_fetch, refused, names, files
    )


def _checked(composed: Composed) -> tuple[Train, Launch]:
    """Return the configurations, each checked by itself. Raises ConfigError."""
    values, launch = split(composed.values)
    optim = values.get("optim", {})
    if optim.get("lr") is None and not is_user_class(optim.get("name", "sgd")):
        optimizer_registry.find(optim.get("name", "sgd"))  # a wrong name is told before what it lacks
    train = config.parse(values)
    launch = dataclasses.replace(launch, runs_dir=launch.runs_dir.expanduser().absolute())
    check_effect(launch, composed.overrides)
    check_agent(launch.cluster)
    check_notify(launch.notify)
    tracking.check_variables(launch.environment)
    tracking.check_words(dataclasses.asdict(launch.cluster))
    if launch.self_test is None:
        _check_names(train, composed.overrides)
    return train, launch


def _to_go_on_with(run: Run, fresh: bool) -> Run | None:
    """Return the run if it is there; None of one that begins, and for which there has to be a place."""
    if fresh or not run.result.exists():  # else there is nothing to write: it says what came out
        check_writable(run.folder.parent)
    if fresh or not run.folder.exists():
        return None
    config.load(run.config)  # it can be gone on with
    return run


def _check_names(train: Train, overrides: Sequence[str]) -> None:
    """Look up what libraries have to have, and refuse words without an effect. Raises ConfigError."""
    config.check_typed(train.optim, overrides)
    model_registry.check(train)
    optimizer_registry.check(train.optim)


def _compare_classes(val: Index | None, train: Train, run: Run | None) -> str:
    """Compare the classes of the images with those of a run that is there; return what couldn't be compared.

    Raises:
        shards.errors.ShardError: they are others, or in another order.
    """
    if val is None:
        return ""
    from dnw.splits import check_classes, unnamed  # noqa: PLC0415  (as in _freeze)

    names = val.classes if run is None else class_names.read(run)
    check_classes(val, train.data, names, None if run is None else run.classes)
    return unnamed(val, names)


def _gpus(train: Train, launch: Launch, in_foreground: bool, ask: Asks) -> Request:
    """Settle the GPUs. Where there is no Slurm, a submission is refused for that; a dry run leaves them open.

    Raises:
        LaunchError: there are none, or Slurm doesn't tell.
    """
    found = gpu_request.settled(train, launch, in_foreground, ask)
    if found.refusal is None:
        return found
    if shutil.which("sbatch") is None:
        return Request(launch, ("cluster.gpus_per_node: open, no Slurm here was asked what the nodes have",))
    if launch.dry_run:
        return found
    raise LaunchError(found.refusal)


def _resolved(
    train: Train, launch: Launch, planned: source_run.Configs | None
) -> tuple[Train, Index | None, tuple[str, ...], tuple[str, ...]]:
    """Return it with the identity of its images, weights and source, and the index of the validation split.

    In a dry run then follow what keeps these from being known, and what is to be fetched.
    """
    to_fetch: tuple[str, ...] = ()
    try:
        frozen, val = _freeze(train, launch.dry_run)
        try:
            frozen = resolve_weights(frozen, launch.runs_dir / train.exp, download=not launch.dry_run)
        except NotFetchedError as error:
            to_fetch = (str(error),)
        return source_run.resolve_source_run(frozen, launch.runs_dir, planned), val, (), to_fetch
    except (ConfigError, ShardError) as error:
        if not launch.dry_run:
            raise
        data = dataclasses.replace(train.data, dir=train.data.dir.expanduser().absolute())
        return dataclasses.replace(train, data=data), None, (str(error),), to_fetch


def _plan_self_test(train: Train, request: Request, asked: SelfTest, overrides: tuple[str, ...]) -> RunPlan:
    """Plan the self-test, which writes its images itself, and shares them as it likes."""
    self_test.check(asked, overrides)
    launch = request.launch
    parent = _parent(launch, train)
    check_writable(parent)
    run = Run(self_test.folder(parent, train, launch))
    data = dataclasses.replace(train.data, dir=run.folder / "images")
    train = dataclasses.replace(train, data=data, steps=len(self_test.checks(asked)))
    if run.folder.exists() and not launch.fresh:
        config.load(run.config)
    launch = dataclasses.replace(launch, cluster=grace_period.settled(launch.cluster, None))
    notes = request.notes if launch.gpus else ()  # on CPUs it is smaller, and takes no longer
    refused = (request.refusal,) if request.refusal else ()
    return RunPlan(run, train, launch, notes=notes, words=overrides, refused=refused)


def write(planned: RunPlan, pack: Packs = snapshot.pack) -> bool:
    """Make the run folder, unless it is there; whether this call made it.

    Args:
        planned: what to make.
        pack: returns the code, in a zip file; of the runs of a sweep, once.

    Raises:
        LaunchError: the code can't be frozen, the disk is full, or the like; then nothing is left behind.
    """
    folder = planned.run.folder
    try:
        if folder.exists() and not planned.launch.fresh:
            if planned.launch.code == "new":
                new_code.take_over(
                    planned.run, functools.partial(pack, outside=planned.outside, files=planned.files)
                )
            # what changes no result is as typed last
            frozen_config.write(planned.run.config, planned.train, keeps_code=planned.launch.code != "new")
            sweep.write(planned.run, planned.sweep)
            return False
        return _make(planned, pack)
    except OSError as error:
        raise not_written(folder, error) from None


def _make(planned: RunPlan, pack: Packs) -> bool:
    folder = planned.run.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder.parent))
    try:
        building.chmod(0o755)
        _fill(Run(building), planned, pack)
        if planned.launch.fresh and folder.exists():
            _move_aside(Run(folder))
        return _publish(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _move_aside(run: Run) -> None:
    """Give a run's folder another name, unless someone works in it, such as a worker typed by hand."""
    try:
        with Lock.take(run.lock):
            run.folder.rename(_free_name(run.folder))
    except HeldError as error:
        raise LaunchError(f"fresh: {run.name} is at work ({error}); stop it first") from None


def _publish(building: Path, folder: Path) -> bool:
    try:
        building.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        return False  # whoever typed the same at the same moment was faster
    return True


def _fill(run: Run, planned: RunPlan, pack: Packs) -> None:
    run.code.write_bytes(pack(outside=planned.outside, files=planned.files))
    for folder in (run.slurm, run.logs, run.checkpoints):
        folder.mkdir()
    frozen_config.write(run.config, planned.train)
    class_names.write(run, planned.classes)
    sweep.write(run, planned.sweep)


def _freeze(train: Train, dry_run: bool) -> tuple[Train, Index]:
    """With an absolute folder, and the identity of the images that are there; and the validation split.

    Raises:
        shards.errors.ShardError: there are none, or damaged ones.
        ConfigError: they have another number of classes, or make too many steps.
    """
    from dnw.splits import open_splits  # noqa: PLC0415  (brings numpy, and --help needs none)
    from shards.remote import fetch_index  # noqa: PLC0415

    data, store = train.data, train.data.store()
    folder = data.dir.expanduser().absolute()
    with contextlib.ExitStack() as discarded:
        indexes = folder
        if store is not None:
            if dry_run:  # which writes nothing
                indexes = Path(discarded.enter_context(tempfile.TemporaryDirectory(prefix="dnw-")))
            for split in ("train", "val"):
                fetch_index(store.url, indexes, split)
        images, val = open_splits(dataclasses.replace(data, dir=indexes))
        schedule.check_length(train, images.num_samples)
        _check_cache(data, images)
    frozen = dataclasses.replace(
        data,
        dir=folder,
        url=data.url if not data.url or "://" in data.url else str(Path(data.url).expanduser().absolute()),
        train_fingerprint=images.fingerprint,
        val_fingerprint=val.fingerprint,
    )
    return dataclasses.replace(train, data=frozen), dataclasses.replace(val, folder=folder)


def _check_cache(data: Data, train: Index) -> None:
    from dnw.splits import windows_bytes  # noqa: PLC0415  (brings numpy, and --help needs none)

    if not data.url:
        return
    window, needed = data.window or len(train.shards), windows_bytes(data, train)
    if needed > data.cache_gb * 1e9:
        raise ConfigError(
            f"data.cache_gb={data.cache_gb:g}: two windows of {window} shards take {needed / 1e9:.1f} GB; "
            "allow so much, or set a smaller data.window"
        )


def _parent(launch: Launch, train: Train) -> Path:
    """Return the folder in which the run's is made.

    Raises:
        LaunchError: it has a name that Slurm or the search path of Python would take for another.
    """
    parent = launch.runs_dir / train.exp
    if found := _UNFIT.search(str(parent)):
        raise LaunchError(
            f"runs_dir: {str(parent)!r} has {found[0]!r} in it, which Slurm, submitit or PYTHONPATH would "
            "read as something else; name a folder without % \\ : and control characters with runs_dir="
        )
    return parent


def _named(parent: Path, composed: Composed, train: Train | None, fresh: bool) -> Run:
    """Return a run by its folder; without a configuration that is known, one that can only be shown.

    Raises:
        LaunchError: it would begin anew beside its folder, which was renamed or copied.
    """
    run = Run(_folder(parent, composed, "SIGNATURE" if train is None else signature(train)))
    if train is None or fresh or run.folder.exists():
        return run
    if other := earlier_run.renamed(train, parent):
        raise LaunchError(
            f"{other}: this run, under a name without its signature. To go on with it: mv "
            f"{shlex.quote(str(other))} {shlex.quote(str(run.folder))}; fresh=true begins another"
        )
    return run


def _folder(parent: Path, composed: Composed, signature: str) -> Path:
    """Return the folder of this run: the one that has its signature, else named after what was overridden.

    Raises:
        LaunchError: there are several, as after a copy: which one is to go on, nobody knows.
    """
    existing = sorted(path for path in matching(parent, f"*-{signature}") if not path.name.startswith("."))
    if len(existing) > 1:
        names = ", ".join(path.name for path in existing)
        raise LaunchError(
            f"{parent}: the same run is there {len(existing)} times ({names}); move all but one away"
        )
    if existing:
        return existing[0]
    return parent / f"{earlier_run.overridden(composed.overrides, composed.apart)}-{signature}"


def _free_name(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1000:03d}")
