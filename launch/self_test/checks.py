"""The checks of a self-test, in order of value: what each shows, and how it is made.

A check trains small runs or has something measured, by the means of its Bench, and returns what it found. One
that is made `faulty` puts in, on purpose, what it must find: it has to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from launch.gpus import visible_gpus
from launch.self_test.bench import Bench, seconds_to_stop
from launch.self_test.cases import FAMILIES, FULL, LARGE
from launch.self_test.findings import Finding, judged

Make = Callable[[Bench, bool], Finding]
SAME = "equal bits"
KILLED_AT, STOPPED_AT, EVALUATED_AT = 5, 5, 4  # steps
OTHER_RATE = 0.1001  # in place of 0.1: a fault that no test of accuracy would find
ONE_NODE = "one node: nodes=2 would make it two"
SLOWEST = 0.1  # of the fastest processor's speed: on a node that others use, too, the figures waver
LOSS_TOLERANCE = 2e-3  # relative, of each step: sums that are rounded otherwise


@dataclass(frozen=True)
class Check:
    """One check, which is a line of the table."""

    name: str
    shows: str
    make: Make


def trained(bench: Bench, is_faulty: bool) -> Finding:
    """All processes have trained on a GPU each; where there is no GPU, on the CPU."""
    ranks = machine(bench)
    has_gpus = is_faulty or bool(visible_gpus()) or any(rank["device"] == "cuda" for rank in ranks)
    run = whole(bench)
    start = ledger.read(run)[0].start or {}
    loss = list(_losses(run).values())
    device = str(start.get("device", "nothing"))
    on_right_device = device.startswith("cuda") == has_gpus
    idle = sorted({f"{rank['host']} has {rank['gpus']} GPUs" for rank in ranks if rank["gpus"] > bench.nproc})
    is_right = on_right_device and start.get("world") == bench.processes and not idle
    figure = (
        f"{start.get('world')} processes on {device.partition(':')[0]}, loss {loss[0]:.3f} to {loss[-1]:.3f}"
    )
    notes = [*idle, *([] if has_gpus else ["no GPU here"])]
    held_to = f"{bench.processes} processes on {'cuda' if has_gpus else 'cpu'}"
    return judged(is_right, "; ".join([figure, *notes]), held_to)


def resumed(precision: str, bench: Bench, is_faulty: bool) -> Finding:
    """Check that a run of which a process was killed ends as the one that was not.

    Args:
        precision: fp32 or bf16.
        bench: where cases are trained.
        is_faulty: a fault is put in, which the check has to find.
    """
    fault = f"{bench.processes - 1}:step {KILLED_AT}:SIGKILL:1"
    changes = _wrong(is_faulty) | {"precision": precision}
    killed = bench.train(f"killed-{precision}", fault=fault, **changes)
    attempts = ledger.read(killed)
    if len(attempts) < 2 or attempts[0].reason != "killed":
        return judged(False, f"the first attempt ended {attempts[0].reason}", "killed")
    after = attempts[-1].first_step
    return _same(
        bench, whole(bench, precision), killed, f"killed after step {KILLED_AT}, resumed after {after}"
    )


def repeated(family: str, bench: Bench, is_faulty: bool) -> Finding:
    """Check that two runs from the same configuration end with the same bits.

    Args:
        family: of networks, static or mobilenet.
        bench: where cases are trained.
        is_faulty: a fault is put in, which the check has to find.
    """
    first = whole(bench) if family == "static" else bench.train(family, family, steps=4)
    steps: dict[str, Any] = {} if family == "static" else {"steps": 4}
    again = bench.train(f"{family}-again", family, **steps, **_wrong(is_faulty))
    return _same(bench, first, again, "2 runs")


def exact(bench: Bench, is_faulty: bool) -> Finding:
    """reduce=exact ends with the same bits on any power of two of processes."""
    places = {size: place for size in (1, 2, 4, 8) if (place := bench.share(size)) is not None}
    if len(places) == 1:
        return Finding("not here", "one process: nproc=2, or nodes=2, would make it two")
    runs = []
    for size, place in places.items():
        is_wrong = is_faulty and size == max(places)
        reduce = "fast" if is_wrong else "exact"
        runs.append(bench.train(f"exact-{size}", on=place, steps=4, reduce=reduce))
    told = f"on {', '.join(map(str, places))} processes"
    return _same(bench, runs[0], runs[1], told, *runs[2:])


def stopped(where: str, bench: Bench, is_faulty: bool) -> Finding:
    """Check that after a TERM to the job everything is saved within the grace time, and nothing is lost.

    Args:
        where: the TERM comes: step or evaluation.
        bench: where cases are trained.
        is_faulty: a fault is put in, which the check has to find.
    """
    in_step = where == "step"
    at = STOPPED_AT if in_step else EVALUATED_AT
    point = f"step {at}" if in_step else f"evaluate {at}"
    faults = [f"0:{point}:SIGTERM@job:1", *(["0:save step-*:HANG:1"] if is_faulty else [])]
    run = bench.train(f"stopped-{where}", fault=";".join(faults), checkpoint__every_steps=1000)
    first = ledger.read(run)[0]
    seconds = seconds_to_stop(run)
    held_to = f"saved within {bench.job.grace_s} s; {SAME}"
    if first.reason != "stopped" or seconds is None:
        return judged(False, str((first.end or {}).get("detail", f"ended {first.reason}")), held_to)
    lost = (first.last_step or 0) - (ledger.read(run)[-1].first_step or 0)
    different = _different(bench, whole(bench), run)
    figure = f"saved {seconds:.1f} s after TERM, {lost} steps lost{different}"
    return judged(seconds <= bench.job.grace_s and lost == 0 and not different, figure, held_to)


def speed(bench: Bench, is_faulty: bool) -> Finding:
    """Check that the loader doesn't hold up the steps, on GPUs of a network of the paper's size."""
    family, changes = ("mobilenet", FULL) if bench.size is LARGE else ("static", {})
    return _of_ranks(bench.measure("speed", family, is_faulty, **changes)["ranks"])


def alike(bench: Bench, is_faulty: bool) -> Finding:
    """Every processor computes right, none is much slower than the others, and they reach each other."""
    ranks = bench.measure("nodes", is_faulty=is_faulty)["ranks"]
    wrong = [f"rank {number}: {rank['figure']}" for number, rank in enumerate(ranks) if not rank["is_right"]]
    facts = [rank["facts"] for rank in ranks]
    figures, slow = [], False
    for key, unit in (("tflops", "TFLOP/s"), ("memory_gb_s", "GB/s of memory")):
        found = [fact.get(key, 0.0) for fact in facts]
        slow |= min(found) < SLOWEST * max(found)
        figures.append(f"{min(found):g} to {max(found):g} {unit}")
    if "reduced_gb_s" in facts[0]:
        figures.append(f"all-reduce of {facts[0]['reduced_mb']} MB at {facts[0]['reduced_gb_s']:g} GB/s")
    else:
        figures.append("all-reduce not here: one process")
    held_to = f"products and sums right; slowest at least {SLOWEST:.0%} of the fastest"
    return judged(not wrong and not slow, ", ".join([*wrong, *figures]), held_to)


def across_fast(bench: Bench, is_faulty: bool) -> Finding:
    """On several nodes and on one, the same samples give the same losses but for rounding."""
    if bench.node.count == 1:
        return Finding("not here", ONE_NODE)
    changes: dict[str, Any] = {"optim__lr": 1.0} if is_faulty else {}
    one, several = bench.train("one-node", on=(1, bench.nproc), **changes), whole(bench)
    ours, theirs = _losses(one), _losses(several)
    apart = max(abs(ours[step] - loss) / loss for step, loss in theirs.items())
    other = "samples" in bench.differences(one, several)
    figure = f"{'other' if other else 'the same'} samples, losses apart by {apart:.1e}"
    return judged(not other and apart <= LOSS_TOLERANCE, figure, f"the same samples, {LOSS_TOLERANCE:.0e}")


def across_exact(bench: Bench, is_faulty: bool) -> Finding:
    """With reduce=exact, a process on each of two nodes and one alone end with the same bits."""
    if bench.node.count == 1:
        return Finding("not here", ONE_NODE)
    changes: dict[str, Any] = {"steps": 4, "reduce": "exact"}
    one = bench.train("exact-1", on=(1, 1), **changes)
    two = bench.train("exact-2-nodes", on=(2, 1), **changes, **_wrong(is_faulty))
    return _same(bench, one, two, "1 process on each of 2 nodes, and 1 process")


def machine(bench: Bench) -> list[dict[str, Any]]:
    """Return what each process has said of where it is."""
    return [rank["facts"] for rank in bench.measure("machine")["ranks"]]


def whole(bench: Bench, precision: str = "fp32") -> Run:
    """Return the run on all processes that nothing happens to."""
    return bench.train(f"whole-{precision}", precision=precision)


def measured(what: str, family: str, bench: Bench, is_faulty: bool) -> Finding:
    """Check what each process measures by itself: right if it is on all of them.

    Args:
        what: the name of the measurement.
        family: of networks that it is made on.
        bench: where cases are trained.
        is_faulty: a fault is put in, which the check has to find.
    """
    return _of_ranks(bench.measure(what, family, is_faulty)["ranks"])


def _of_ranks(ranks: Sequence[Mapping[str, Any]]) -> Finding:
    made = [(number, rank) for number, rank in enumerate(ranks) if rank["figure"]]
    wrong = [(number, rank) for number, rank in made if not rank["is_right"]]
    number, shown = (wrong or made)[0]
    where = f"rank {number}: " if wrong and len(made) > 1 else ""
    return judged(not wrong, f"{where}{shown['figure']}", shown["tolerance"])


def _losses(run: Run) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in jsonl.read(run.metrics) if line["kind"] == "train"}


def _wrong(is_faulty: bool) -> dict[str, Any]:
    return {"optim__lr": OTHER_RATE} if is_faulty else {}


def _same(bench: Bench, one: Run, other: Run, told: str, *more: Run) -> Finding:
    different = "".join(_different(bench, one, run) for run in (other, *more))
    return judged(not different, f"{told}{different}", SAME)


def _different(bench: Bench, one: Run, other: Run) -> str:
    """Return what to say of two runs that differ; nothing of two that don't."""
    found = bench.differences(one, other)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"; {other.folder.name} differs in {', '.join(found[:3])}{more}" if found else ""


CHECKS: tuple[Check, ...] = (
    Check("trained", "trained, a process for each GPU", trained),
    *(
        Check(f"resumed_{precision}", f"killed and resumed, {precision}", partial(resumed, precision))
        for precision in ("fp32", "bf16")
    ),
    *(Check(f"repeated_{family}", f"run twice, {family}", partial(repeated, family)) for family in FAMILIES),
    Check("exact", "reduce=exact on other numbers of processes", exact),
    Check("step", "one step beside the CPU's, mobilenet", partial(measured, "step", "mobilenet")),
    Check("waiting", "no wait for the GPU in a step", partial(measured, "waiting", "mobilenet")),
    Check("stopped_step", "TERM in a step", partial(stopped, "step")),
    Check("stopped_evaluation", "TERM in an evaluation", partial(stopped, "evaluation")),
    Check("batches", "batches where the consumer is slow", partial(measured, "batches", "mobilenet")),
    Check("speed", "what a step takes", speed),
    Check("ties", "edges chosen among equal weights", partial(measured, "ties", "static")),
    Check("nodes", "every node computes, and reaches the others", alike),
    Check("across_fast", "two nodes and one, reduce=fast", across_fast),
    Check("across_exact", "two nodes and one, reduce=exact", across_exact),
)
NAMES = tuple(check.name for check in CHECKS)
