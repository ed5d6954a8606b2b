"""The study, from its command line to its report."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from bench.study import elsewhere, report
from bench.study.declared import CONTESTANTS, NETWORKS, RATES, Length, Network, Sweep, sweeps
from bench.study.elsewhere import Outcome
from bench.study.images import TRAINED_ON, Images, images
from bench.study.runs import Trained, planned
from bench.study.sweeping import ROOT, Progress, line, submit, train
from bench.study.tested import tested
from dnw.config import ConfigError
from dnw.runs.folder import Run
from launch.commands import plot
from shards import command
from shards.atomic import replacing
from shards.errors import did_you_mean
from shards.index import Index

# settings that the study sets itself, and what is typed instead
DECLARED = {
    **{"optim.lr": "--rates", "seed": "--seeds", "wiring": "--only", "steps": "--steps"},
    **{"epochs": "--epochs", "data.dir": "--images", "model": "--networks"},
    **{"dry_run": "--list", "nodes": "--slurm for many runs at a time"},
    **dict.fromkeys(("+exp", "exp", "batch", "micro_batch", "data", "data.image_size", "optim", "fresh"), ""),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add what --study takes."""
    group = parser.add_argument_group("with --study")
    known = {network.name: network for network in NETWORKS}
    group.add_argument("--networks", type=_names(list(known)), default=list(known), metavar="NAME,...")
    group.add_argument("--only", type=_names(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME,...")
    group.add_argument("--rates", type=_rates, default=list(RATES), metavar="RATE,...")
    group.add_argument("--epochs", type=command.positive, default=20)
    group.add_argument("--steps", type=command.positive, help="in place of epochs")
    group.add_argument(
        "--tuning",
        type=command.positive,
        metavar="EPOCHS",
        help="length of the runs that choose the rate; with --steps in steps  [a tenth]",
    )
    group.add_argument("--tuning-seeds", type=command.positive, default=1, help="so many at every rate")
    group.add_argument(
        "--finalists",
        type=command.positive,
        default=1,
        help="so many of the best rates are trained at length",
    )
    group.add_argument(
        "--train-images", type=command.positive, default=TRAINED_ON, help="the first so many  [%(default)s]"
    )
    group.add_argument(
        "--images", type=command.path, default=ROOT / "data" / "fashion_mnist", metavar="SHARDS"
    )
    group.add_argument(
        "--with",
        type=command.path,
        action="append",
        default=[],
        dest="elsewhere",
        metavar="STUDY.json",
        help="what it wrote on another machine: these runs aren't trained again; may be repeated",
    )
    group.add_argument("--slurm", action="store_true", help="job arrays of Slurm's, not runs here")
    group.add_argument("--report", action="store_true", help="report what is done so far, and train nothing")
    group.add_argument("--list", action="store_true", help="print the sweeps, one a line, and train nothing")


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in known:
                nearest = did_you_mean(name, known)
                raise argparse.ArgumentTypeError(f"no {name!r}{nearest}; there are: {', '.join(known)}")
        return list(dict.fromkeys(found))

    return parse


def _rates(text: str) -> list[float]:
    rates = [command.amount(word) for word in text.split(",")]
    if 0 in rates:
        raise argparse.ArgumentTypeError("a rate must be greater than 0")
    return list(dict.fromkeys(rates))


@dataclass(frozen=True)
class Part:
    """One network of the study."""

    network: Network
    images: Images
    index: Index  # of what is trained on
    tuning: list[Trained]  # short runs at every rate, which choose it
    finals: list[Trained]  # those of the whole length, at the best rates
    known: Mapping[str, Outcome]  # what came out elsewhere, by the runs' signatures


def study(chosen: argparse.Namespace) -> int:
    """Train what is left, then report what there is.

    Args:
        chosen: what was typed: `options`, and words, seeds and out.

    Returns:
        0: all runs have ended. 1: with --slurm or --report, some have not.

    Raises:
        ConfigError: a word that the study can't follow.
        LaunchError: a run has failed.
    """
    _check(chosen)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    plot.check(chosen.out.with_suffix(".png"))
    folder = chosen.images.with_name(f"{chosen.images.name}_study")
    found, parts = elsewhere.known(chosen.elsewhere), []
    for one in NETWORKS:
        if one.name in chosen.networks:
            made = images(chosen.images, folder, one.size, chosen.train_images)
            known = {run: outcome for (of, run), outcome in found.items() if of == made.name}
            parts.append(Part(one, made, Index.load(made.tuning, "train"), [], [], known))
    tuning = [(part, one) for part in parts for one in _tuning(chosen, part)]
    if chosen.list:
        finals = [] if tuning else [(part, one) for part in parts for one in _finals(chosen, part)]
        for part, sweep in (*tuning, *finals):
            print(shlex.join(line(sweep, _settings(chosen, part), chosen.slurm)))
        return 0
    _work(chosen, parts, [(part, one, part.tuning) for part, one in tuning])
    _work(chosen, parts, [(part, one, part.finals) for part in parts for one in _finals(chosen, part)])
    _report(chosen, parts)
    runs = _declared(parts)
    ended = sum(one.has_ended() for one in runs)
    whole = len(runs) + sum(_to_come(chosen, part) for part in parts)
    if ended < whole:
        print(f"{ended} of {whole} runs have ended; type the same again when more have", file=sys.stderr)
    return 0 if ended == whole else 1


def _check(chosen: argparse.Namespace) -> None:
    for word in chosen.words:
        key, has_value, _ = word.partition("=")
        if not has_value:
            raise ConfigError(f"{word}: no setting; contestants of the study are named by --only")
        if key in DECLARED:
            instead = f": use {DECLARED[key]}" if DECLARED[key] else ", the same for all"
            raise ConfigError(f"{key}: the study sets it{instead}")


def _settings(chosen: argparse.Namespace, part: Part) -> list[str]:
    given = {word.partition("=")[0] for word in chosen.words}
    runs_dir = [] if "runs_dir" in given else [f"runs_dir={ROOT / 'runs' / 'study'}"]
    return [f"data.dir={part.images.tuning.absolute()}", *runs_dir, *chosen.words]


def _tuning(chosen: argparse.Namespace, part: Part) -> list[Sweep]:
    """Declare the short runs that choose among several rates."""
    whole = chosen.epochs if chosen.steps is None else chosen.steps
    tuning = chosen.tuning or max(1, whole // 10)
    length = Length(tuning, None if chosen.steps is None else tuning)
    seeds = range(min(chosen.tuning_seeds, chosen.seeds))
    images = part.index.num_samples
    return sweeps(part.network, chosen.only, chosen.rates, seeds, length, images) if _tunes(chosen) else []


def _tunes(chosen: argparse.Namespace) -> bool:
    rates, finalists = len(chosen.rates), int(chosen.finalists)
    return rates > finalists


def _finals(chosen: argparse.Namespace, part: Part) -> list[Sweep]:
    """Declare the runs of the whole length, of each contestant whose rates are chosen: seed after seed."""
    length, images = Length(chosen.epochs, chosen.steps), part.index.num_samples
    by_rate = report.by_rate(part.tuning)
    of_rates: dict[tuple[float, ...], list[str]] = {}  # that share them, and so a line
    for name in chosen.only:
        best = tuple(report.best_rates(by_rate[name], chosen.finalists) if _tunes(chosen) else chosen.rates)
        if best:
            of_rates.setdefault(best, []).append(name)
    return [
        one
        for seed in range(chosen.seeds)
        for best, names in of_rates.items()
        for one in sweeps(part.network, names, best, [seed], length, images)
    ]


def _to_come(chosen: argparse.Namespace, part: Part) -> int:
    """Return how many runs of the whole length aren't declared yet, as their rates aren't chosen."""
    chosen_already = {one.contestant for one in part.finals}
    undecided = [
        name
        for name, rates in report.by_rate(part.tuning).items()
        if name not in chosen_already and not all(one.has_ended() for runs in rates.values() for one in runs)
    ]
    count: int = len(undecided) * chosen.finalists * chosen.seeds
    return count


def _declared(parts: Sequence[Part]) -> list[Trained]:
    """Return all runs that are known by now; one of the whole length that chose its rate, too, once."""
    runs = [one for part in parts for one in (*part.tuning, *part.finals)]
    return list({one.run: one for one in runs}.values())


def _work(
    chosen: argparse.Namespace, parts: Sequence[Part], declared: Sequence[tuple[Part, Sweep, list[Trained]]]
) -> None:
    """Train sweeps, or submit them; the runs of each are noted in its list."""
    made = []
    for part, sweep, noted in declared:
        runs = planned(sweep, _settings(chosen, part), part.index, part.known)
        noted.extend(runs)
        if any(one.elsewhere for one in runs):
            left = [one for one in runs if not one.has_ended()]
            made += [(part, sweep.alone(one.contestant, one.rate, one.seed), [one]) for one in left]
        else:
            made.append((part, sweep, runs))
    if chosen.report or not made:
        return
    steps = {part.network.name: _to_come(chosen, part) * _final_steps(chosen, part) for part in parts}
    told = Progress(_declared(parts), sum(_to_come(chosen, part) for part in parts), steps)
    for part, sweep, runs in made:
        if chosen.slurm:
            submit(sweep, runs, _settings(chosen, part))
        else:
            train(sweep, runs, _settings(chosen, part), chosen.out.with_suffix(".log"), told)
    if not chosen.slurm:
        told.show()
        told.close()


def _final_steps(chosen: argparse.Namespace, part: Part) -> int:
    if chosen.steps is not None:
        return int(chosen.steps)
    epochs: int = chosen.epochs
    return math.ceil(epochs * part.index.num_samples / part.network.batch)


def _report(chosen: argparse.Namespace, parts: Sequence[Part]) -> None:
    """Write OUT.md, OUT.json and OUT.png, of contestants that have a run of the whole length that is done."""
    tests = {one.run: top1 for part in parts for one, top1 in _tested(chosen, part)}
    found = [report.Found(one.network, rows(one, tests), one.tuning, one.finals) for one in parts]
    text = "\n".join(report.tables(one) for one in found)
    with replacing(chosen.out.with_suffix(".md")) as file:
        file.write(text.encode())
    runs = [
        {"network": one.network.name, "wiring": one.contestant, "rate": one.rate, "seed": one.seed}
        | {"steps": one.steps, "ended": one.has_ended(), "held_out": one.top1(), "test": tests.get(one.run)}
        | {"curve": one.curve(), "run": one.run.name, "images": part.images.name}
        for part in parts
        for one in _declared([part])
    ]
    with replacing(chosen.out.with_suffix(".json")) as file:
        file.write((json.dumps(runs, indent=1) + "\n").encode())
    report.draw(found, chosen.out.with_suffix(".png"))
    print(text, end="")


def _tested(chosen: argparse.Namespace, part: Part) -> list[tuple[Trained, float]]:
    """Return the runs of the whole length that are done, and top-1 of each on the test images."""
    done = [one for one in part.finals if one.top1() is not None]
    return list(zip(done, tested(done, part.images, chosen.out.with_suffix(".tested.jsonl")), strict=True))


def rows(part: Part, tests: Mapping[Run, float]) -> list[report.Row]:
    """Return a row for each contestant, of the seeds that are done at the best of its rates.

    Those are the ones in `tests`: others may end while these are tested.
    """
    rows = []
    for name, rates in report.by_rate(part.finals).items():
        done = {rate: [one for one in runs if one.run in tests] for rate, runs in rates.items()}
        best = report.best_rate(done)
        if best is None:
            continue
        runs = done[best]
        held_out = tuple(top1 for one in runs if (top1 := one.top1()) is not None)
        curves = tuple(tuple(one.curve()) for one in runs)
        diverged = sum(one.has_ended() and one.top1() is None for one in rates[best])
        rows.append(report.Row(name, best, held_out, tuple(tests[one.run] for one in runs), curves, diverged))
    return rows


def stop(_: int, frame: FrameType | None) -> None:
    """End on TERM as after Ctrl-C: the run that is at work is stopped, and saves."""
    sys.exit(143)
