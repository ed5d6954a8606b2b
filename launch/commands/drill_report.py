"""What a preemption drill cost: pure functions of what was noted while it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from dnw.runs.ledger import Attempt
from launch.grace_period import granted
from launch.scheduler.stop_grace import Grants


@dataclass(frozen=True)
class Marks:
    """When the cluster did its part, in seconds since 1970; None: it was too quick to be seen."""

    asked: float  # the stop was asked for
    gone: float | None  # the job was out of the way
    granted: float | None  # it had nodes again
    reasons: tuple[str, ...] = ()  # why it waited, in Slurm's words


@dataclass(frozen=True)
class Deadline:
    """How long saving may take, and who says so."""

    seconds: int
    said_by: str


@dataclass(frozen=True)
class Phase:
    """One part of the way from the signal to the first new step; None: not seen."""

    name: str
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class DrillReport:
    """A preemption from end to end."""

    run: str
    job: str
    first: Attempt  # the one that was stopped
    second: Attempt  # the one that goes on
    saved: float | None  # when that one had saved everything, in seconds since 1970; None: it hadn't
    reached: int  # steps done when it ended
    marks: Marks
    deadlines: tuple[Deadline, ...]

    @property
    def phases(self) -> list[Phase]:
        """Its parts, in their order, and their sum."""
        marks, saved, second = self.marks, self.saved, self.second
        claim, start, step = _time(second.claim), _time(second.start), _time(second.step)
        granted = min(marks.granted, claim) if marks.granted and claim else marks.granted
        waited = f"Slurm's reasons: {', '.join(marks.reasons)}" if marks.reasons else ""
        return [
            Phase("signal to saved", _span(marks.asked, saved), f"step {self.reached}"),
            Phase("saved to out of the way", _span(saved or marks.asked, marks.gone)),
            Phase("waiting in the queue", _span(marks.gone, granted), waited),
            Phase("nodes granted to run claimed", _span(granted, claim)),
            Phase("claimed to checkpoint loaded", _span(claim, start), f"step {second.first_step}"),
            Phase("loaded to first step done", _span(start, step)),
            Phase("in all", _span(marks.asked, step or start)),
        ]

    @property
    def steps_lost(self) -> int:
        """Steps that are done a second time."""
        return self.reached - (self.second.first_step or 0)

    @property
    def saving_s(self) -> float | None:
        """From the signal until everything was saved."""
        return self.phases[0].seconds

    @property
    def holds(self) -> bool | None:
        """Whether saving stays within each deadline; None where none is known."""
        if self.saving_s is None:
            return False
        if not self.deadlines:
            return None
        return all(self.saving_s < deadline.seconds for deadline in self.deadlines)

    def plain(self) -> dict[str, object]:
        """As `--json` prints it."""
        keys = ("saving_s", "leaving_s", "waiting_s", "claiming_s", "loading_s", "first_step_s", "total_s")
        return {
            "run": self.run,
            "job": self.job,
            "attempts": [self.first.number, self.second.number],
            **{key: phase.seconds for key, phase in zip(keys, self.phases, strict=True)},
            "waited_for": list(self.marks.reasons),
            "deadlines_s": {deadline.said_by: deadline.seconds for deadline in self.deadlines},
            "holds": self.holds,
            "step_stopped": self.reached,
            "step_resumed": self.second.first_step,
            "steps_lost": self.steps_lost,
        }

    def table(self) -> Table:
        """Its phases for people."""
        title = f"Preemption drill of {self.run}, job {self.job}"
        shown = Table(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
        )
        shown.add_column("From one to the next")
        shown.add_column("Seconds", justify="right")
        shown.add_column("")
        for phase in self.phases:
            shown.add_row(phase.name, "-" if phase.seconds is None else f"{phase.seconds:.1f}", phase.note)
        return shown

    def summary(self) -> list[str]:
        """Whether it went well, in sentences."""
        return [self._about_steps(), *self._about_deadlines()]

    def _about_steps(self) -> str:
        step = self.second.first_step
        if self.steps_lost == 0:
            return f"Nothing was lost: stopped after step {self.reached}, resumed after step {step}."
        return (
            f"{self.steps_lost} steps were lost: stopped after step {self.reached} ({self.first.cause}), "
            f"resumed after step {step}. checkpoint.every_minutes, or checkpoint.every=auto, bounds that."
        )

    def _about_deadlines(self) -> list[str]:
        if not self.deadlines:
            return ["No save deadline is known on this cluster."]
        if self.saving_s is None:
            known = " and ".join(f"{deadline.seconds} s ({deadline.said_by})" for deadline in self.deadlines)
            return [f"It was not saved in time; it had at most {known}."]
        return [
            f"Saving took {self.saving_s:.1f} of {deadline.seconds} s ({deadline.said_by}): "
            f"{'that holds' if self.saving_s < deadline.seconds else 'TOO LONG'}."
            for deadline in self.deadlines
        ]


def deadlines(grants: Grants | None, grace_s: int | None) -> tuple[Deadline, ...]:
    """Return what bounds the saving of a preempted job.

    Args:
        grants: what Slurm gives it.
        grace_s: what the launcher gives its workers.
    """
    found: list[Deadline] = []
    if grants is not None and grants.preempted_s is not None:
        found.append(Deadline(grants.preempted_s, granted(grants)))
    if grace_s is not None:
        found.append(Deadline(grace_s, "cluster.grace_s"))
    return tuple(found)


def _time(record: dict[str, object] | None) -> float | None:
    return float(str(record["time"])) if record else None


def _span(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(max(0.0, end - begin), 3)


def reasons_in_order(seen: Sequence[str]) -> tuple[str, ...]:
    """Each once, without Slurm's word for none."""
    return tuple(dict.fromkeys(reason for reason in seen if reason not in {"None", ""}))
