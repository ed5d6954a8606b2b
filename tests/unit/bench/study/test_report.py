from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from matplotlib.axes import Axes

from bench.study.declared import NETWORKS
from bench.study.images import Images
from bench.study.report import Found, Row, best_rate, best_rates, by_rate, draw, order, spread, tables
from bench.study.runs import Trained, left_s
from bench.study.study import Part, rows
from dnw.runs import jsonl
from dnw.runs.folder import Run
from shards.index import Index


@dataclass(frozen=True)
class Known(Trained):
    """A run of which it is known what came out; None: it has diverged."""

    known: float | None = None
    over: bool = True
    points: tuple[tuple[float, float], ...] = ()

    def top1(self) -> float | None:
        return self.known

    def has_ended(self) -> bool:
        return self.over

    def curve(self) -> list[tuple[float, float]]:
        return list(self.points)


def known(contestant: str, rate: float, *top1s: float | None, over: bool = True) -> list[Trained]:
    run = Run(Path("nowhere"))
    return [
        Known(NETWORKS[0], contestant, rate, seed, run, 200, known=top1, over=over)
        for seed, top1 in enumerate(top1s)
    ]


def row(contestant: str, test: float, *curve: float) -> Row:
    points = tuple((float(epoch), top1) for epoch, top1 in enumerate(curve, 1))
    return Row(contestant, 0.02, (test, test), (test, test + 1), (points, points))


def test_the_rate_of_the_highest_mean_is_the_best() -> None:
    runs = [*known("dnw", 0.1, 80, 90), *known("dnw", 0.02, 86, 85), *known("dnw", 0.01, 86, 85)]
    assert best_rate(by_rate(runs)["dnw"]) == 0.01  # the lowest of equal ones


def test_several_rates_go_on_the_best_first() -> None:
    runs = [*known("dnw", 0.1, 80), *known("dnw", 0.02, 86), *known("dnw", 0.01, 85)]
    assert best_rates(by_rate(runs)["dnw"], 2) == [0.02, 0.01]
    assert best_rates(by_rate(runs)["dnw"], 5) == [0.02, 0.01, 0.1]


def test_rates_are_compared_by_the_seeds_that_all_of_them_have() -> None:
    runs = [*known("dnw", 0.1, 80, 99), *known("dnw", 0.02, 86)]
    assert best_rate(by_rate(runs)["dnw"]) == 0.02


def test_a_rate_at_which_one_has_diverged_is_no_candidate() -> None:
    runs = [*known("dnw", 0.1, 99, None), *known("dnw", 0.02, 85, 85)]
    assert best_rate(by_rate(runs)["dnw"]) == 0.02
    assert best_rate(by_rate(known("dnw", 0.1, None))["dnw"]) is None
    assert "| dnw | 85.00 ± 0.00 | 99.00 (1 diverged) |" in tables(Found(NETWORKS[0], [], runs, []))


def test_nothing_is_chosen_before_all_rates_have_ended() -> None:
    runs = [*known("dnw", 0.1, 80, 90), *known("dnw", 0.02, 95, None, over=False)]
    assert best_rate(by_rate(runs)["dnw"]) is None


def test_the_table_compares_with_random() -> None:
    runs = [*known("random", 0.02, 85), *known("dnw", 0.02, 84)]
    text = tables(Found(NETWORKS[0], [row("random", 85), row("dnw", 84)], runs, []))
    assert "| dnw | 0.02 | 84.00 ± 0.00 | 84.50 ± 0.71 | -1.00 | 2 |" in text
    assert spread([85.0]) == "85.00"


def test_a_seed_that_diverged_at_length_is_told_beside_the_others() -> None:
    one = dataclasses.replace(row("dnw", 84), held_out=(84,), test=(85,), diverged=1)
    text = tables(Found(NETWORKS[0], [one], [], []))
    assert "| dnw | 0.02 | 84.00 | 85.00 |  | 1 (1 diverged) |" in text


def test_rates_have_a_table_where_a_contestant_has_several() -> None:
    short = [*known("random", 0.02, 85), *known("random", 0.1, 84)]
    finals = [*known("random", 0.02, 85), *known("dnw", 0.1, 84)]
    assert tables(Found(NETWORKS[0], [], short, finals)).count("by rate:") == 1


def test_a_best_rate_at_the_edge_is_told() -> None:
    runs = [*known("random", 0.02, 85), *known("random", 0.1, 84)]
    assert "The lowest rate is the best of random." in tables(
        Found(NETWORKS[0], [row("random", 85)], runs, [])
    )
    inside = [*runs, *known("random", 0.01, 84)]
    assert "is the best of" not in tables(Found(NETWORKS[0], [row("random", 85)], inside, []))


def test_the_order_is_told_with_the_epochs_after_which_it_held() -> None:
    rows = [row("random", 85, 70, 80, 85), row("no_update", 86, 69, 81, 86), row("dnw", 87, 60, 82, 87)]
    (said,) = order(rows)
    assert said.startswith("random < no_update < dnw in the means on test images: yes.")
    assert said.endswith("after these of 3 epochs: 2, 3.")
    assert order(rows[:2]) == []
    assert "images: no. " in order([row("dnw", 80, 1, 2), *rows[:2]])[0]


def at_work(contestant: str, *top1s: float) -> Trained:
    points = tuple((float(epoch), top1) for epoch, top1 in enumerate(top1s, 1))
    run = Run(Path("nowhere"))
    return Known(NETWORKS[0], contestant, 0.02, 0, run, 200, known=None, over=False, points=points)


def test_runs_that_are_at_work_are_compared_after_the_last_epoch_that_all_have() -> None:
    finals = [at_work("random", 70, 80, 85), at_work("dnw", 71, 79), at_work("no_update")]
    text = tables(Found(NETWORKS[0], [], [], finals))
    assert "so far, held-out images after 2 epochs:" in text
    assert "| random | 0.02 | 80.00 | 1 |\n| dnw | 0.02 | 79.00 | 1 |\n" in text
    assert "| no_update |" not in text


def test_curves_and_rates_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [*known("random", 0.02, 85, 86), *known("random", 0.1, 84, None)]
    titles: list[str] = []
    monkeypatch.setattr(Axes, "set_xlabel", lambda _, text: titles.append(text))
    finals = [at_work("random", 70, 80), at_work("no_update")]
    draw([Found(NETWORKS[0], [], runs, finals)], tmp_path / "study.png")
    assert titles == ["learning rate, 200 steps", "epoch"]
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_left_is_estimated_by_each_networks_own_steps(tmp_path: Path) -> None:
    done, begun = Run(tmp_path / "done"), Run(tmp_path / "begun")
    for run, last in ((done, 200), (begun, 100)):
        run.folder.mkdir()
        for step in range(50, last + 1, 50):
            line = {"kind": "train", "step": step, "attempt": 1, "time": 100.0 + step / 2}
            jsonl.append(run.metrics, line)
    done.result.write_text('{"top1": 85.0}')
    runs = [Trained(NETWORKS[0], "dnw", 0.1, seed, run, 200) for seed, run in enumerate((done, begun))]
    assert runs[0].top1() == 85.0
    assert left_s(runs, {}) == pytest.approx(100 * 0.5)
    other = Trained(NETWORKS[1], "dnw", 0.1, 0, Run(tmp_path / "none"), 200)
    assert left_s([*runs, other], {"mobilenet": 300}) == pytest.approx((100 + 200 + 300) * 0.5)
    assert left_s([other], {}) is None


def test_a_run_that_ends_while_others_are_tested_is_not_counted() -> None:
    both = [dataclasses.replace(one, run=Run(Path(str(one.seed)))) for one in known("dnw", 0.1, 80.0, 81.0)]
    part = Part(NETWORKS[0], cast(Images, None), cast(Index, None), [], [*both], {})
    (found,) = rows(part, {both[0].run: 79.0})
    assert (found.held_out, found.test, found.diverged) == ((80.0,), (79.0,), 0)
