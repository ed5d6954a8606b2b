import csv
import io
import json
from pathlib import Path

import pytest
from login_node import Captured

from dnw.runs.folder import Run
from launch import runs
from launch.cluster.submission import Submission
from launch.errors import LaunchError
from launch.study import record, table
from launch.study.record import SETTINGS
from launch.study.space import Choice, Numbers, Params, Space

SPACE: Space = {"width": Numbers(0.1, 0.5), "wiring": Choice(("dnw", "random"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three trials."""
    made = tmp_path / "runs" / "mine"
    with record.opened(made, ["maximize", "minimize"]) as study:
        study.keep(SETTINGS, {"objectives": ["top1", "macs"]})
        for number, values in enumerate([(50.0, 1e6), (60.0, 2e6), (55.0, 3e6)]):
            params: Params = {"width": 0.1 + number / 10, "wiring": "dnw"}
            study.complete(study.add(params, SPACE, f"a/{number}-0123456789"), values)
        one = study.add({"width": 0.5, "wiring": "random"}, SPACE, "a/3-0123456789")
        study.fell_behind(one, "after step 4: top1 1.00 % at best")
        study.pruned(one)
    run = Run(made.parent / "a" / "3-0123456789")
    run.folder.mkdir(parents=True)
    typed = ["+exp=static_dnw", "data.dir=a b"]
    Submission("slurm", "7", "login", 2e9, 1, 1, str(run.slurm), {}, typed).write(run)
    return made


def test_forms(folder: Path, capfd: Captured) -> None:
    typed = ["study", "min", "--runs-dir", str(folder.parent)]
    assert runs.main(typed) == 0
    printed = capfd.readouterr().out
    assert "after step 4: top1 1.00 % at best" in printed
    assert printed.count("*") == 2
    assert (
        "trial 3 is saved; to go on with it: python launch/slurm.py +exp=static_dnw 'data.dir=a b'" in printed
    )
    assert runs.main([*typed, "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert [row["is_best"] for row in rows] == [True, True, False, False]
    assert rows[3]["values"] == {}
    assert runs.main([*typed, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert lines[1]["top1"] == "60.0"
    assert lines[3]["wiring"] == "random"


def test_the_front_is_drawn(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "pareto.svg"
    assert runs.main(["study", "--runs-dir", str(folder.parent), "--plot", str(out)]) == 0
    assert "<svg" in out.read_text()


def test_which_study(folder: Path, tmp_path: Path) -> None:
    assert table.find(None, folder.parent) == folder
    assert table.find(str(folder), tmp_path) == folder
    with pytest.raises(LaunchError, match="no study in it"):
        table.find(None, tmp_path)
    with pytest.raises(LaunchError, match="there are: mine"):
        table.find("yours", folder.parent)
    with record.opened(folder.with_name("mine-2"), ["maximize"]) as study:
        assert table.find("mine", folder.parent) == folder
        with pytest.raises(LaunchError, match="which study: fits 2"):
            table.find(None, folder.parent)
        with pytest.raises(LaunchError, match="makes no front"):
            table.draw(study, tmp_path / "x.svg")
