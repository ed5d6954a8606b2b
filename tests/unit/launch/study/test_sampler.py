"""Proposals are a function of the seed, the number of the trial and what is known."""

from pathlib import Path

import pytest
from unit.launch.study.conftest import Study

from launch.study import record, sampler, settings


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_the_same_is_proposed_again(study: Study, tmp_path: Path, name: str) -> None:
    of = settings.read(
        study(f"hydra.sweeper.sampler={name}", "optim.lr=tag(log,interval(0.01,1))", "width=0.1")
    )
    found = []
    for folder in ("one", "two"):
        with record.opened(tmp_path / folder, of.directions) as known:
            for number in range(14):
                params = sampler.propose(of, known)
                assert params == sampler.propose(of, known)
                assert params is not None
                one = known.add(params, of.space, f"a/{number}-0123456789")
                known.report(one, 1, float(number), 4)
                if number % 4 == 3:
                    known.pruned(one)
                else:
                    known.complete(one, [float(params["optim.lr"]), float(number)])
            found.append([one.params for one in known.trials()])
    assert found[0] == found[1]
    assert all(0.01 <= params["optim.lr"] <= 1 for params in found[0])
    assert len({params["optim.lr"] for params in found[0]}) == 14


def test_seeds_differ() -> None:
    assert len({sampler.seed(*given) for given in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}) == 4
