"""One configuration stands for a study: that with the first of the values that each setting may take."""

from pathlib import Path

import pytest

from dnw.config import ConfigError
from launch.compose import compose

STUDY = ["-m", "+exp=demo_dnw", "hydra/sweeper=optuna"]


def test_the_first_of_all_values() -> None:
    words = ["width=interval(0.1,0.5)", "wiring=random,dnw", "seed=range(3,9)", "steps=5"]
    (found,) = compose([*STUDY, *words, "hydra.sweeper.n_trials=7", "hydra.job.env_set.A=1"])
    assert [found.values[key] for key in ("width", "seed", "steps")] == [0.1, 3, 5]
    assert found.values["wiring"]["name"] == "random"
    assert found.study is not None
    assert found.study.sweeper["n_trials"] == 7
    assert found.study.words == ("+exp=demo_dnw", *words)
    assert found.study.kept == ("hydra.job.env_set.A=1",)
    assert found.in_foreground is False


def test_in_the_foreground() -> None:
    (found,) = compose([*STUDY, "width=interval(0.1,0.5)", "hydra/launcher=basic"])
    assert found.in_foreground
    assert found.values["cluster"]["name"] == "local"


def test_values_from_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "hydra" / "sweeper"
    folder.mkdir(parents=True)
    text = Path("configs/hydra/sweeper/adaptive.yaml").read_text()
    text = text.replace("params: null", "params: {width: 'interval(0.1,0.5)', seed: '1,2'}")
    (folder / "mine.yaml").write_text(text)
    line = ["-m", "+exp=demo_dnw", "hydra/sweeper=mine", f"hydra.searchpath=[file://{tmp_path}]", "seed=7"]
    (found,) = compose(line)
    assert (found.values["width"], found.values["seed"]) == (0.1, 7)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([*STUDY, "width=0.1"], "no setting has values to choose from"),
        (["-m", "+exp=demo_dnw", "width=interval(0.1,0.5)"], "type -m hydra/sweeper=optuna as well"),
        (["+exp=demo_dnw", "width=interval(0.1,0.5)"], "type -m hydra/sweeper=optuna as well"),
        ([*STUDY[1:], "width=interval(0.1,0.5)"], "of sweeps alone; type -m as well"),
        ([*STUDY, "width=interval(0.1,0.5)", "hydra.sweeper.n_trial=3"], "did you mean n_trials?"),
        ([*STUDY, "hydra.sweeper.params.width=0.1"], "type the setting itself: width=0.1"),
        (["-m", "+exp=demo_dnw", "seed=1,2", "hydra.sweeper.n_trials=3"], "of hydra/sweeper=optuna alone"),
    ],
)
def test_what_is_refused(line: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        compose(line)
