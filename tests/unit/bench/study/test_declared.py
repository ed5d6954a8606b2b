from __future__ import annotations

from typing import get_args

from bench.study.declared import NETWORKS, REMEDIES, WIRINGS, Length, sweeps
from dnw import config
from dnw.config.wiring import FROM_A_RUN, KINDS
from launch.compose import compose
from launch.config import split


def test_wirings_share_a_line_and_each_remedy_has_one() -> None:
    made = sweeps(NETWORKS[0], ["random", "dnw+swaps", "dnw"], [0.1, 0.02], [0, 1], Length(20, None), 50_000)
    assert [one.contestants for one in made] == [("random", "dnw"), ("dnw+swaps",)]
    assert {"wiring=random,dnw", "seed=0,1", "optim.lr=0.1,0.02", "epochs=20"} <= set(made[0].words)
    assert {"wiring=dnw", "wiring.swaps=0.01"} <= set(made[1].words)


def test_a_quarter_of_the_run_warms_up() -> None:
    (of_epochs,) = sweeps(NETWORKS[0], ["dnw+warmup"], [0.1], [0], Length(20, None), 50_000)
    (of_steps,) = sweeps(NETWORKS[0], ["dnw+warmup"], [0.1], [0], Length(20, 200), 50_000)
    assert of_epochs.words[-1] == "optim.warmup_epochs=5"
    assert of_steps.words[-1] == "optim.warmup_epochs=0.064"  # 50 steps of 64 images


def test_remedies_are_settings_that_a_run_takes() -> None:
    words = [word.format(warmup=5.0) for word in REMEDIES.values()]
    for network in NETWORKS:
        (sweep,) = sweeps(network, ["dnw"], [0.1], [0], Length(20, None), 50_000)
        (composed,) = compose([*sweep.words, *words])
        train = config.parse(split(composed.values)[0])
        assert (train.batch, train.data.image_size) == (network.batch, network.size)
        assert train.optim.warmup_epochs == 5.0


def test_each_wiring_that_needs_no_other_run_is_in_it() -> None:
    assert set(get_args(KINDS)) - set(WIRINGS) == FROM_A_RUN | {"n_m"}  # which has no MobileNetV1-like width
    assert len(REMEDIES) >= 4
