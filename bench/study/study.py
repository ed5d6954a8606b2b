"""The study, from its command line to its report."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from bench.study import report
from bench.study.declared import CONTESTANTS, NETWORKS, RATES, Length, Network, Sweep, sweeps
from bench.study.images import Images, images
from bench.study.runs import Trained, planned
from bench.study.sweeping import ROOT, Progress, line, submit, train
from bench.study.tested import tested
from dnw.config import ConfigError
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
        "--tuning-seeds",
        type=command.positive,
        default=1,
        help="so many seeds at every rate, the others at the best",
    )
    group.add_argument(
        "--images", type=command.path, default=ROOT / "data" / "fashion_mnist", metavar="SHARDS"
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
    runs: list[Trained]  # those that choose the rate, then those at the best one


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
    made = {
        one.name: images(chosen.images, folder, one.size) for one in NETWORKS if one.name in chosen.networks
    }
    parts = [
        Part(one, made[one.name], Index.load(made[one.name].tuning, "train"), [])
        for one in NETWORKS
        if one.name in made
    ]
    seeds = list(range(chosen.seeds))
    tuning, later = seeds[: chosen.tuning_seeds], seeds[chosen.tuning_seeds :]
    declared = [
        (part, one) for part in parts for one in _sweeps(chosen, part, chosen.only, chosen.rates, tuning)
    ]
    if chosen.list:
        for part, one in declared:
            print(shlex.join(line(one, _settings(chosen, part), chosen.slurm)))
        return 0
    _work(chosen, parts, declared, len(later) * len(chosen.only))
    if later:
        _work(chosen, parts, _of_best(chosen, parts, later), 0)
    _report(chosen, parts)
    runs = [one for part in parts for one in part.runs]
    ended = sum(one.has_ended() for one in runs)
    if ended < len(runs):
        print(f"{ended} of {len(runs)} runs have ended; type the same again when more have", file=sys.stderr)
    return 0 if ended == len(runs) else 1


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


def _sweeps(
    chosen: argparse.Namespace, part: Part, only: Sequence[str], rates: Sequence[float], seeds: Sequence[int]
) -> list[Sweep]:
    length = Length(chosen.epochs, chosen.steps)
    return sweeps(part.network, only, rates, seeds, length, part.index.num_samples)


def _of_best(
    chosen: argparse.Namespace, parts: Sequence[Part], seeds: Sequence[int]
) -> list[tuple[Part, Sweep]]:
    """Declare the seeds that are trained at the best rate alone."""
    found = []
    for part in parts:
        for name, rates in report.by_rate(part.runs).items():
            best = report.best_rate(rates)
            if best is not None:
                found += [(part, one) for one in _sweeps(chosen, part, [name], [best], seeds)]
    return found


def _work(
    chosen: argparse.Namespace, parts: Sequence[Part], declared: Sequence[tuple[Part, Sweep]], to_come: int
) -> None:
    """Train sweeps, or submit them; `to_come`: runs of each network that will be declared after these."""
    made = [(part, sweep, planned(sweep, _settings(chosen, part), part.index)) for part, sweep in declared]
    for part, _, runs in made:
        part.runs.extend(runs)
    if chosen.report:
        return
    told = Progress([one for part in parts for one in part.runs], to_come)
    for part, sweep, runs in made:
        if chosen.slurm:
            submit(sweep, runs, _settings(chosen, part))
        else:
            train(sweep, runs, _settings(chosen, part), chosen.out.with_suffix(".log"), told)
    if not chosen.slurm:
        told.show()
        told.close()


def _report(chosen: argparse.Namespace, parts: Sequence[Part]) -> None:
    """Write OUT.md, OUT.json and OUT.png, of contestants all of whose runs at their best rate are done."""
    found = [(part.network, _rows(chosen, part), part.runs) for part in parts]
    text = "\n".join(report.tables(*one) for one in found)
    with replacing(chosen.out.with_suffix(".md")) as file:
        file.write(text.encode())
    runs = [
        {"network": one.network.name, "wiring": one.contestant, "rate": one.rate, "seed": one.seed}
        | {"steps": one.steps, "held_out": one.top1(), "curve": one.curve(), "run": one.run.name}
        for _, _, runs in found
        for one in runs
    ]
    with replacing(chosen.out.with_suffix(".json")) as file:
        file.write((json.dumps(runs, indent=1) + "\n").encode())
    report.draw(found, chosen.out.with_suffix(".png"))
    print(text, end="")


def _rows(chosen: argparse.Namespace, part: Part) -> list[report.Row]:
    rows = []
    for name, rates in report.by_rate(part.runs).items():
        best = _chosen_rate(rates, chosen.tuning_seeds)
        runs = rates[best] if best is not None else []
        held_out = [top1 for one in runs if (top1 := one.top1()) is not None]
        if best is None or len(held_out) < chosen.seeds:
            continue
        test = tested(runs, part.images, chosen.out.with_suffix(".tested.jsonl"))
        curves = tuple(tuple(one.curve()) for one in runs)
        rows.append(report.Row(name, best, tuple(held_out), tuple(test), curves))
    return rows


def _chosen_rate(rates: dict[float, list[Trained]], tuning_seeds: int) -> float | None:
    """Return the rate that the tuning seeds chose, whatever came of the others."""
    return report.best_rate(
        {rate: [one for one in runs if one.seed < tuning_seeds] for rate, runs in rates.items()}
    )


def stop(_: int, frame: FrameType | None) -> None:
    """End on TERM as after Ctrl-C: the run that is at work is stopped, and saves."""
    sys.exit(143)
