"""Where the time of a step goes: chosen steps, recorded by torch's profiler on each rank.

The parts of a step are timed besides, by a clock of their own: on a GPU by events of the stream that
computes, read when all steps are done. So nothing waits for the device, and a part takes as long as it does
there. A run that isn't asked for a profile has none of this: `Trainer.part` is then `no_part`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function

from dnw.runs.claim import Claim
from dnw.training.distributed import World

log = logging.getLogger(__name__)
Part = Callable[[str], AbstractContextManager[None]]
# With reduce=fast gradients travel while the backward still runs: then communication is what is left.
PARTS = ("data", "forward", "backward", "communication", "optimizer", "selection")
_WHOLE = "step"
_OPERATIONS = 20  # in the table
_NOTHING = contextlib.nullcontext()


def no_part(name: str) -> AbstractContextManager[None]:
    """Measure nothing."""
    return _NOTHING


class StepProfile:
    """Records some steps of this rank, and writes what it found once they are done."""

    def __init__(self, steps: range, claim: Claim, world: World) -> None:
        """Record `steps`, counted from 1, in the attempt of `claim`; the step before them warms up."""
        self._steps = steps
        self._claim = claim
        self._world = world
        self._clock: _Clock | None = None  # while recording
        self._profile: profile | None = None

    def part(self, name: str) -> AbstractContextManager[None]:
        """Return what is to stand around one of PARTS."""
        return _NOTHING if self._clock is None else self._clock.measured(name)

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around step `number`, counted from 1.

        Raises:
            SupersededError: a later attempt has taken the run over.
            OSError: what was recorded can't be written.
        """
        if self._profile is None and self._steps.start - 1 <= number < self._steps.stop:
            self._begin(number)
        if self._profile is None:
            yield
            return
        if number in self._steps and self._clock is None:
            self._clock = _Clock(self._world.device)
        with self.part(_WHOLE):
            yield
        self._profile.step()
        if number + 1 == self._steps.stop:
            self._write(self._profile)
            self.close()

    def close(self) -> None:
        """Stop recording; what wasn't written is lost."""
        if self._profile is not None:
            self._profile.stop()
        self._profile = self._clock = None
        self._steps = range(0)

    def _begin(self, number: int) -> None:
        warm_up = max(0, self._steps.start - number)
        self._steps = range(number + warm_up, self._steps.stop)
        activities = [ProfilerActivity.CPU]
        if self._world.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        else:  # a build for CUDA says on standard error that it finds no GPU, and when it starts and stops
            os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        plan = partial(_action, warm_up=warm_up, active=len(self._steps))
        self._profile = profile(activities=activities, schedule=plan)
        self._profile.start()

    def _write(self, found: profile) -> None:
        """Write the trace and the tables; the first rank shows the latter."""
        assert self._clock is not None
        folder, rank = self._claim.run.profile, self._world.rank
        folder.mkdir(exist_ok=True)
        steps = f"steps {self._steps.start} to {self._steps.stop - 1}"
        where = ", ".join([f"rank {rank} of {self._world.size}", *self._world.places[rank : rank + 1]])
        text = f"{steps}, {where}\n\n{shares(self._clock.seconds(), len(self._steps))}\n{_operations(found)}"
        with self._claim.replacing(folder / f"rank-{rank}.txt") as file:
            file.write(text.encode())
        with tempfile.TemporaryDirectory() as temporary:
            trace = Path(temporary, "trace.json.gz")
            found.export_chrome_trace(str(trace))
            with trace.open("rb") as whole, self._claim.replacing(folder / f"rank-{rank}.json.gz") as file:
                shutil.copyfileobj(whole, file)
        if self._world.is_first:
            log.info("profile of %s\n%s: traces of all ranks, which ui.perfetto.dev opens", text, folder)


class _Clock:
    """Adds up how long parts take, on the device where they are computed."""

    def __init__(self, device: torch.device) -> None:
        self._is_gpu = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Around a part, which the trace shows by this name."""
        with record_function(name):
            if self._is_gpu:
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                began.record()
                yield
                ended.record()
                self._events.append((name, began, ended))
                return
            began_s = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - began_s)

    def seconds(self) -> dict[str, float]:
        """Return the sum of each part; waits for the device."""
        for name, began, ended in self._events:
            ended.synchronize()
            self._add(name, began.elapsed_time(ended) / 1000)
        self._events.clear()
        return self._seconds

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds


def _action(step: int, warm_up: int, active: int) -> ProfilerAction:
    """Return what the profiler does in a step, from 0; torch's own plans warn where none warms up."""
    if step < warm_up:
        return ProfilerAction.WARMUP
    if step >= warm_up + active:
        return ProfilerAction.NONE
    return ProfilerAction.RECORD_AND_SAVE if step == warm_up + active - 1 else ProfilerAction.RECORD


def shares(seconds: dict[str, float], steps: int) -> str:
    """Return a table of what each part takes of a step.

    Args:
        seconds: of all steps together, by part; "step" is the whole.
        steps: how many they are.
    """
    whole = seconds[_WHOLE]
    rows = [(name, seconds.get(name, 0.0)) for name in PARTS]
    rows += [("other", max(0.0, whole - sum(of for _, of in rows))), ("all", whole)]
    lines = [f"{name:<14} {1000 * of / steps:>10.2f} {of / whole:>8.1%}\n" for name, of in rows]
    return f"{'part':<14} {'ms a step':>10} {'share':>8}\n{''.join(lines)}"


def _operations(found: profile) -> str:
    """Return the table of operations that take longest by themselves, on the GPU if there is one."""
    by = "self_cuda_time_total" if ProfilerActivity.CUDA in found.activities else "self_cpu_time_total"
    return str(found.key_averages().table(sort_by=by, row_limit=_OPERATIONS, max_name_column_width=50))
