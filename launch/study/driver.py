"""A study from its first trial to its last: asks for values, hands runs over, looks what becomes of them.

All that it knows is in the study and in the run folders. So it may be killed anywhere: the next one finds
each trial that has no end yet, and its run by its name, at work, stopped or done, and goes on from there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType

from dnw.config import ConfigError
from dnw.preemption import STOPPED
from launch.commands import cancel
from launch.errors import LaunchError
from launch.node import exit_reason, signals
from launch.prepare import RunPlan
from launch.query.run_status import RunStatus, query_status
from launch.scheduler import slurm_command
from launch.study import early_stop, sampler, trials
from launch.study.outcome import INTERRUPTED, describe, values_of
from launch.study.record import Study, Trial
from launch.study.settings import StudySettings
from launch.study.space import Params

POLL_S = 5.0  # between two looks at runs in the background
ENOUGH_FAILED = 3  # trials of a study of which none has come to anything
LOOKS = 2  # in which nothing works on a run before it counts as ended: between two attempts there may be one
Start = Callable[[Sequence[RunPlan]], int]


@dataclass
class Driver:
    """Goes on with a study; what is in here is forgotten with the process."""

    settings: StudySettings
    study: Study
    in_foreground: bool
    plans: dict[int, RunPlan] = field(default_factory=dict)  # by trial
    seen: set[int] = field(default_factory=set)  # trials that were at work while this process looked
    asked: set[int] = field(default_factory=set)  # trials whose runs were asked to stop
    logs: dict[int, early_stop.Log] = field(default_factory=dict)  # by trial
    quiet: dict[int, int] = field(default_factory=dict)  # looks in which nothing worked on the run
    is_exhausted: bool = False  # every combination has been tried
    failed: list[str] = field(default_factory=list)  # why trials have, since the line was typed
    told: str = ""  # of what has been edited
    is_unanswered: bool = False  # Slurm didn't answer in the last turn

    # ---- which trials there are

    def open_trials(self) -> list[Trial]:
        """Return the trials that have no end yet, by number; each has its plan from then on."""
        found = [one for one in self.study.trials() if one.is_open]
        for one in found:
            if one.number not in self.plans:
                made = trials.plan(self.settings, one.params, self.in_foreground)
                trials.check_run(one, made)
                self.plans[one.number] = made
        return found

    def add(self) -> Trial | None:
        """Enter the next trial, its run planned; None where there is none left.

        Raises:
            ConfigError: the very first values make no run, or none do any more, as files in configs/ changed.
        """
        while not self._adds_none() and len(known := self.study.trials()) < self.settings.typed.n_trials:
            params = sampler.propose(self.settings, self.study)
            if params is None:
                self.is_exhausted = True
                break
            try:
                made = trials.plan(self.settings, params, self.in_foreground)
            except ConfigError as error:
                if not known:
                    raise
                trials.plan(self.settings, self.settings.first, self.in_foreground)  # else configs/ is broken
                self._add_failed(len(known), params, trials.why_not(error))
                continue
            if same := trials.twin(made, known):
                self._add_failed(len(known), params, f"the same run as trial {same.number}")
                continue
            self._tell_changes()
            trials.check_images(self.study, self.settings, made)
            added = self.study.add(params, self.settings.space, made.run.name)
            self.plans[added.number] = made
            _say(f"trial {added.number}: {_words(self.settings, params)}")
            return added
        return None

    def _adds_none(self) -> bool:
        """Whether no trial is added any more: all combinations are tried, or none comes to anything."""
        return self.is_exhausted or self._is_hopeless()

    def _is_hopeless(self) -> bool:
        """Whether too many have failed since the line was typed, and none has come to anything."""
        is_any_done = any(one.state in {"complete", "pruned"} for one in self.study.trials())
        return len(self.failed) >= ENOUGH_FAILED and not is_any_done

    def _add_failed(self, number: int, params: Params, why: str) -> None:
        self.study.add_failed(params, self.settings.space, why)
        _say(f"trial {number}: {_words(self.settings, params)}: {why}")

    def _tell_changes(self) -> None:
        """Tell once what has been edited since the first trial: this one is made of it."""
        note = trials.note_of_code(self.settings, self.study)
        if note and note != self.told:
            _say(f"note    {note}")
        self.told = note or self.told

    # ---- what has become of one

    def judge(self, trial: Trial, status: RunStatus) -> Trial:
        """Enter the evaluations that are new, and whether the trial falls behind by one of them.

        That first: an evaluation that is known is not judged again.
        """
        trial = self.study.trials()[trial.number]  # the thread of `_watch` may have entered more
        log = self.logs.setdefault(trial.number, early_stop.Log(status.run))
        for found in log.evaluations(self.settings):
            if found.ordinal in trial.evaluations:
                continue
            if not trial.behind:
                why = early_stop.behind(found, trial, self.study.trials(), self.settings)
                if why:
                    self.study.fell_behind(trial, why)
                    _say(f"trial {trial.number}: stopped early, {why}")
            self.study.report(trial, found.ordinal, found.value, found.step)
            trial = self.study.trials()[trial.number]
            if trial.behind:
                break
        return trial

    def settle(self, trial: Trial, status: RunStatus) -> bool:
        """Enter how a trial has ended, if it has; whether it has."""
        trial = self.judge(trial, status)
        at_work = _is_at_work(status)
        self.quiet[trial.number] = 0 if at_work else self.quiet.get(trial.number, 0) + 1
        self.seen |= {trial.number} if at_work else set()
        has_ended = status.is_finished or self.quiet[trial.number] >= LOOKS or self.in_foreground
        if trial.behind and not at_work and has_ended:
            self.study.pruned(trial)
        elif status.is_finished:
            values, problem = values_of(status.result or {}, self.settings.typed.objectives)
            if problem:
                self.failed.append(problem)
                self.study.failed(trial, problem)
            else:
                self.study.complete(trial, values)
        elif self._has_failed(trial, status) and has_ended:
            is_said = status.why.startswith(status.state)
            why = status.why if is_said else f"{status.state}: {status.why}"
            self.failed += [why] if status.state == "failed" else []  # others diverge by their own settings
            self.study.failed(trial, why)
        else:
            return False
        _say(describe(self.study.trials()[trial.number], self.settings.typed.objectives))
        return True

    def _has_failed(self, trial: Trial, status: RunStatus) -> bool:
        """Whether a run has come to nothing.

        One that broke off without a word, by a power cut, goes on; so does one that was asked to stop and
        killed before it had saved.
        """
        if status.state != "failed":
            return status.state == "diverged"
        last = status.current
        if last is None:
            return trial.number in self.seen
        return last.end is not None and not str(last.end.get("detail", "")).startswith(exit_reason.UNSAVED)

    def statuses(self, found: Sequence[Trial]) -> dict[int, RunStatus]:
        """Return how the runs of trials stand, all asked for at once."""
        there = {self.plans[one.number].run: one.number for one in found}
        answers, _ = query_status([run for run in there if run.folder.exists()])
        return {one.number: status for one in found for status in answers if self._is(one, status)}

    def _is(self, trial: Trial, status: RunStatus) -> bool:
        return self.plans[trial.number].run == status.run

    # ---- in the background

    def turn(self, start: Start) -> bool:
        """Look at all trials, and hand over as many runs as may be at work; whether there is more to do."""
        found = self.open_trials()
        statuses = self.statuses(found)
        to_start: list[Trial] = []
        busy = set[str]()  # jobs with a trial at work, or one that may be
        for one in found:
            status = statuses.get(one.number)
            if status is None:
                to_start.append(one)
            elif self.settle(one, status):
                continue
            elif _is_at_work(status):
                busy.add(_job(status))
                self._stop_early(one, status)
            elif self.quiet[one.number] < LOOKS:
                busy.add(_job(status))
            elif one.number not in self.seen:
                to_start.append(one)
        free = (self.settings.at_once - len(busy)) * self.settings.pack
        while len(to_start) < free and (added := self.add()) is not None:
            to_start.append(added)
        begun = to_start[: max(free, 0)]
        if begun:
            start([self.plans[one.number] for one in begun])
            self.seen |= {one.number for one in begun}
            self.quiet |= {one.number: 0 for one in begun}
        return bool(busy or to_start)

    def _stop_early(self, trial: Trial, status: RunStatus) -> None:
        now = self.study.trials()[trial.number]
        if now.behind and trial.number not in self.asked and status.is_surely_at_work:
            cancel.stop([status])
            self.asked.add(trial.number)

    def run_in_background(self, start: Start) -> int:
        """Go on until all trials have ended, or Ctrl-C.

        Returns:
            0; 1 if some failed or were stopped by somebody; 130 after Ctrl-C.
        """
        interrupted = threading.Event()

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            interrupted.set()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            while self._uninterrupted(start):
                if interrupted.wait(POLL_S):
                    _say("no longer waiting: trials at work go on; type the same again to follow the study")
                    return INTERRUPTED
        finally:
            signal.signal(signal.SIGINT, before)
        return self._conclude()

    def _uninterrupted(self, start: Start) -> bool:
        """Make a turn; Ctrl-C waits until it is over, and doesn't end Slurm's commands in it either."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._answered_turn(start)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _answered_turn(self, start: Start) -> bool:
        """Make a turn; where Slurm doesn't answer, which passes, leave the rest of it to the next one.

        Raises:
            LaunchError: anything else is wrong.
        """
        try:
            is_more = self.turn(start)
        except LaunchError as error:
            if not slurm_command.will_pass(str(error)):
                raise
            if not self.is_unanswered:
                _say(f"{error}; waiting until Slurm answers")
            self.is_unanswered = True
            return True
        if self.is_unanswered:
            _say("Slurm answers again")
        self.is_unanswered = False
        return is_more

    def _conclude(self) -> int:
        left = [one for one in self.study.trials() if one.is_open]
        for one in left:
            _say(f"trial {one.number}: {one.run} was stopped; type the same again to resume it")
        if self._is_hopeless():
            _say(
                f"{len(self.failed)} trials have failed and none is done, so no more begin; mend that, type "
                f"the same again: {self.failed[-1]}"
            )
        if self.is_exhausted:
            _say("every combination of values has been tried")
        return int(bool(left) or any(one.state == "fail" for one in self.study.trials()))

    # ---- in the foreground

    def run_in_foreground(self, work: Start) -> int:
        """Go on with one trial after the other, here.

        Returns:
            0; 1 if some failed; 75 after Ctrl-C, saved; or what else ended the work on a run.
        """
        while (one := next(iter(self.open_trials()), None) or self.add()) is not None:
            status = self.statuses([one]).get(one.number)
            if status is not None and _is_at_work(status):
                self._wait_for(one, status)
                continue
            if status is not None and self.settle(one, status):
                continue
            code, is_asked = self._work_on(one, work)
            status = self.statuses([one]).get(one.number)
            if is_asked and (status is None or not status.is_finished):
                _say(f"trial {one.number}: {one.run} was stopped; type the same again to go on")
                return code or STOPPED
            if status is None or not self.settle(one, status):
                return code or 1
            if is_asked:
                return STOPPED
        return self._conclude()

    def _wait_for(self, trial: Trial, status: RunStatus) -> None:
        """Let whatever else works on a run go on a while: what a killed command has left ends by itself."""
        if trial.number not in self.seen:
            _say(f"trial {trial.number}: {trial.run} is {status.state}, {status.who}: waiting for its end")
        self.seen.add(trial.number)
        time.sleep(POLL_S)

    def _work_on(self, trial: Trial, work: Start) -> tuple[int, bool]:
        """Work on the run of a trial, while a thread looks whether it falls behind.

        Returns:
            the exit code, and whether anybody else than that thread has asked for the end.
        """
        is_over, sent = threading.Event(), list[int]()
        watch = partial(self._watch, trial, is_over, sent)
        watcher = threading.Thread(target=watch, name="early stop", daemon=True)
        before = {number: signal.getsignal(number) for number in signals.SIGNALS}
        watcher.start()
        try:
            code = work([self.plans[trial.number]])
            is_over.set()
            watcher.join()
            return code, signals.count() > len(sent)
        finally:
            is_over.set()
            watcher.join()
            for number, handler in before.items():  # those of the job, which has ended
                signal.signal(number, handler)

    def _watch(self, trial: Trial, is_over: threading.Event, sent: list[int]) -> None:
        """Ask the job in this process to save and stop, once its trial falls behind; note that in `sent`."""
        run = self.plans[trial.number].run
        while not is_over.wait(early_stop.LOOK_S):
            if not run.folder.exists():  # it is made by the work that is beginning
                continue
            (status,), _ = query_status([run])
            if status.is_held and self.judge(trial, status).behind:
                sent.append(signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _is_at_work(status: RunStatus) -> bool:
    """Whether to wait for a run, as the launcher sees it, or Slurm doesn't tell.

    Not where only the files say so of a run on another machine, which may be gone.
    """
    return status.is_surely_at_work or status.is_unknown


def _job(status: RunStatus) -> str:
    """Return what names the job that works on a trial: its own, or one that several share."""
    last = status.submission
    return last.job if last is not None and last.pack else status.run.name


def _words(settings: StudySettings, params: Params) -> str:
    return " ".join(settings.trial_words(params)[len(settings.words) :])


def _say(line: str) -> None:
    print(line, flush=True)
