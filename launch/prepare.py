"""From a composed configuration to a run folder: checked here, before a node is spent, then frozen.

A run folder appears whole or not at all: it is written under another name beside its own, then renamed.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnw import config, model_registry, nondeterministic, schedule
from dnw.config import ConfigError, Data, Train
from dnw.runs import source_run
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError, Lock
from launch import grace_period, loader_cores, snapshot
from launch.compose import Composed
from launch.config import Launch, SelfTest, check_processes, is_launch_key, split
from launch.earlier_run import earlier
from launch.errors import LaunchError, not_written
from launch.grace_period import Need
from launch.self_test import settings as self_test
from shards.atomic import replacing

if TYPE_CHECKING:
    from shards.index import Index

LONGEST_NAME = 120  # of the overridden part; file systems take 255 bytes


@dataclass(frozen=True)
class RunPlan:
    """A run that may be launched: everything about it was checked, nothing written yet."""

    run: Run
    train: Train
    launch: Launch
    need: Need | None = None  # to stop in, where earlier attempts have measured it
    notes: tuple[str, ...] = ()  # what to tell of it
    words: tuple[str, ...] = ()  # that were typed


def plan(composed: Composed) -> RunPlan:
    """Check a configuration against itself, the processes, the images and the file system; name its folder.

    A run that exists already keeps its folder: all that its result depends on is the same, or the signature
    would differ.

    Raises:
        ConfigError: settings that can't be run.
        shards.errors.ShardError: shards that can't be used.
        LaunchError: no run folder can be made there.
    """
    values, launch = split(composed.values)
    train = config.parse(values)
    launch = dataclasses.replace(launch, runs_dir=launch.runs_dir.expanduser().absolute())
    if launch.self_test is not None:
        return _plan_self_test(train, launch, launch.self_test, composed.overrides)
    model_registry.check(train)
    check_processes(train, launch)
    if launch.gpus:
        nondeterministic.check(train)
    train = _freeze(train)
    train = source_run.resolve_source_run(train, launch.runs_dir)
    run = Run(_folder(launch.runs_dir / train.exp, train, composed.overrides))
    if launch.fresh or not run.result.exists():  # else there is nothing to write: it says what came out
        _check_writable(launch.runs_dir / train.exp)
    if run.folder.exists() and not launch.fresh:
        config.load(run.config)  # it can be gone on with
    need = grace_period.measured(run, train.batch, launch.nodes * launch.processes_per_node)
    cluster = grace_period.settled(launch.cluster, need)
    notes = (*filter(None, [loader_cores.doubt(train, launch)]), *earlier(train, run))
    launch = dataclasses.replace(launch, cluster=cluster)
    return RunPlan(run, train, launch, need, notes, composed.overrides)


def _plan_self_test(train: Train, launch: Launch, asked: SelfTest, overrides: tuple[str, ...]) -> RunPlan:
    """Plan the self-test, which writes its images itself, and shares them as it likes."""
    self_test.check(asked, overrides)
    parent = launch.runs_dir / train.exp
    _check_writable(parent)
    run = Run(self_test.folder(parent, train, launch))
    data = dataclasses.replace(train.data, dir=run.folder / "images")
    train = dataclasses.replace(train, data=data, steps=len(self_test.checks(asked)))
    if run.folder.exists() and not launch.fresh:
        config.load(run.config)
    return RunPlan(
        run, train, dataclasses.replace(launch, cluster=grace_period.settled(launch.cluster, None))
    )


def write(planned: RunPlan) -> bool:
    """Make the run folder, unless it is there; whether this call made it.

    Raises:
        LaunchError: the code can't be frozen, the disk is full, or the like; then nothing is left behind.
    """
    folder = planned.run.folder
    try:
        if folder.exists() and not planned.launch.fresh:
            _refresh(planned)
            return False
        return _make(planned)
    except OSError as error:
        raise not_written(folder, error) from None


def _make(planned: RunPlan) -> bool:
    folder = planned.run.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder.parent))
    try:
        building.chmod(0o755)
        _fill(Run(building), planned)
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


def _refresh(planned: RunPlan) -> None:
    """Take over the settings that change no result, such as where the shards are, as typed last."""
    path, text = planned.run.config, config.dump(planned.train)
    if path.read_text() != text:
        with replacing(path) as file:
            file.write(text.encode())


def _publish(building: Path, folder: Path) -> bool:
    try:
        building.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        return False  # whoever typed the same at the same moment was faster
    return True


def _fill(run: Run, planned: RunPlan) -> None:
    outside = (planned.launch.runs_dir, planned.train.data.dir)
    snapshot.write(run.code, outside=outside)
    for folder in (run.slurm, run.logs, run.checkpoints):
        folder.mkdir()
    with run.config.open("w") as file:
        file.write(config.dump(planned.train))
        file.flush()
        os.fsync(file.fileno())


def _freeze(train: Train) -> Train:
    """With an absolute folder, and the identity of the images that are there.

    Raises:
        shards.errors.ShardError: there are none, or damaged ones.
        ConfigError: they have another number of classes, or make too many steps.
    """
    from shards.index import Index  # noqa: PLC0415  (brings numpy, and --help needs none)
    from shards.remote import fetch_index  # noqa: PLC0415

    data = train.data
    folder = data.dir.expanduser().absolute()
    store = data.store()
    if store is not None:
        for split in ("train", "val"):
            fetch_index(store.url, folder, split)
    images, val = (Index.load(folder, split, store) for split in ("train", "val"))
    schedule.check_length(train, images.num_samples)
    _check_cache(data, images)
    for index in (images, val):
        if index.num_classes != data.classes:
            raise ConfigError(
                f"data.classes: {data.classes}, but the {index.split} split in {folder} has "
                f"{index.num_classes} classes; set data.classes={index.num_classes}, or data.dir to the "
                "shards that you mean"
            )
    frozen = dataclasses.replace(
        data, dir=folder, train_fingerprint=images.fingerprint, val_fingerprint=val.fingerprint
    )
    return dataclasses.replace(train, data=frozen)


def _check_cache(data: Data, train: Index) -> None:
    """Two windows must fit: the one that is read and the next, which is fetched meanwhile."""
    if not data.url:
        return
    window = data.window or len(train.shards)
    needed = min(2 * window, len(train.shards)) * max(shard.bytes for shard in train.shards)
    if needed > data.cache_gb * 1e9:
        raise ConfigError(
            f"data.cache_gb={data.cache_gb:g}: two windows of {window} shards take {needed / 1e9:.1f} GB; "
            "allow so much, or set a smaller data.window"
        )


def _folder(parent: Path, train: Train, overrides: tuple[str, ...]) -> Path:
    """Return the folder of this run: the one that has its signature, else named after what was overridden."""
    signature = config.signature(train)
    existing = sorted(path for path in parent.glob(f"*-{signature}") if not path.name.startswith("."))
    return existing[0] if existing else parent / f"{overridden(overrides)}-{signature}"


def overridden(overrides: tuple[str, ...]) -> str:
    """Return the training settings that were typed, fit for a file name: they set a run apart for people."""
    words = sorted(word.lstrip("+~") for word in overrides)
    told = [word for word in words if _tells(word.split("=")[0].split("@")[0])]
    return re.sub(r"[^\w=.,+-]+", "_", ",".join(told))[:LONGEST_NAME] or "default"


def _tells(key: str) -> bool:
    parts = key.split(".")
    prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return key != "exp" and not is_launch_key(key) and not prefixes & config.NOT_IDENTITY


def _check_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if broken := next((path for path in (folder, *folder.parents) if _leads_nowhere(path)), None):
        raise LaunchError(
            f"runs_dir: {broken} is a link to {broken.readlink()}, which isn't there; make that"
        )
    if not existing.is_dir():
        raise LaunchError(f"runs_dir: {existing} is a file; name a folder for the runs with runs_dir=")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise LaunchError(f"runs_dir: {existing} can't be written to; name another folder with runs_dir=")


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _free_name(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1000:03d}")
