"""The paper's table from finished runs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import example
import pytest
from run_folder import finish, make

from dnw.config import dump
from dnw.runs.folder import Run
from launch.commands import plot
from launch.commands.results import rows, select_finished
from launch.errors import LaunchError
from launch.runs import main

COSTS = {"params": 41_288, "macs": 2_660_000}


def done(runs_dir: Path, name: str, top1: float, exp: str = "static_dnw", **changes: Any) -> Run:
    """A finished run."""
    run = make(runs_dir, name, exp, **{"data__name": "cifar10", **changes})
    finish(run, top1=top1, **COSTS)
    return run


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    runs_dir = tmp_path / "runs"
    done(runs_dir, "default-0000000000", 80.0, steps=None, epochs=160)
    done(runs_dir, "seed=1-1111111111", 81.0, steps=None, epochs=160, seed=1)
    done(runs_dir, "seed=2-2222222222", 82.0, steps=None, epochs=160, seed=2)
    done(runs_dir, "optim.lr=0.2,seed=7-3333333333", 70.0, steps=None, epochs=160, seed=7, optim__lr=0.2)
    done(runs_dir, "default-4444444444", 61.5, "elsewhere", data__name="fashion_mnist")
    make(runs_dir, "default-5555555555", "static_random")
    return runs_dir


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(["table", *words]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_seeds_make_one_row(runs_dir: Path) -> None:
    found, notes = rows(select_finished([], runs_dir))
    assert [(row.experiment, row.runs, row.top1, row.top1_std) for row in found] == [
        ("elsewhere", 1, 61.5, None),
        ("static_dnw", 3, 81.0, 1.0),
        ("static_dnw optim.lr=0.2", 1, 70.0, None),
    ]
    assert notes == ["not finished, so left out: 1; python launch/runs.py status shows them"]


def test_published_figures_stand_beside(runs_dir: Path) -> None:
    elsewhere, static, _ = rows(select_finished([], runs_dir))[0]
    assert (static.published_top1, static.published_std) == (80.9, 0.6)
    assert elsewhere.published_top1 is None
    assert (static.trained, elsewhere.trained) == ("160 epochs", "10 steps")


def test_the_source_of_a_run_does_not_split_its_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        wiring = {"name": "fine_tune", "source": f"complete-{seed}", "source_signature": f"{seed}" * 10}
        done(tmp_path, f"seed={seed}-000000000{seed}", 50.0, seed=seed, wiring=wiring)
    (row,) = rows(select_finished([], tmp_path))[0]
    assert row.runs == 2


def test_for_people(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs_dir.parent)
    out, err = printed(capsys)
    (line,) = (line for line in out.splitlines() if "81.00 ± 1.00" in line)
    assert line.split("  ")[0].strip() == "static_dnw"
    for cell in ("static x0.05", "dnw", "cifar10", "160 epochs", "41.3k", "2.66M", "3", "80.9 ± 0.6"):
        assert cell in line
    assert "not finished, so left out: 1" in err


def test_for_documents(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "--markdown", "--runs-dir", str(runs_dir), "static_dnw")
    heading, rule, first, _ = out.splitlines()
    assert len({line.count("|") for line in (heading, rule, first)}) == 1
    assert first == (
        "| static_dnw | static x0.05 | dnw | cifar10 | 160 epochs | 41.3k | 2.66M | 81.00 ± 1.00 | 3 "
        "|  |  | 80.9 ± 0.6 |"
    )


def test_for_programs(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "--json", "--runs-dir", str(runs_dir))
    as_json = json.loads(out)
    out, _ = printed(capsys, "--csv", "--runs-dir", str(runs_dir))
    as_csv = list(csv.DictReader(io.StringIO(out)))
    assert len(as_csv) == 3
    texts = [{key: "" if value is None else str(value) for key, value in row.items()} for row in as_json]
    assert as_csv == texts
    assert as_json[1]["params"] == COSTS["params"]


def test_folders_experiments_and_single_runs(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*words: str) -> list[str]:
        return [run.folder.name[-4:] for run in select_finished(words, runs_dir)]

    assert names(str(runs_dir / "static_dnw")) == names("static_dnw") == ["0000", "3333", "1111", "2222"]
    assert names("static_dnw/seed=1", "elsewhere") == ["1111", "4444"]
    assert names(str(runs_dir)) == names()
    assert names("elsewhere", "elsewhere/default-4444444444") == ["4444"]
    with pytest.raises(LaunchError, match="nothing: no run of this name"):
        names("nothing")
    with pytest.raises(LaunchError, match="seed: fits 3 runs"):
        names("seed")


def test_nothing_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "runs")
    out, err = printed(capsys, "--runs-dir", str(tmp_path / "runs"))
    assert out.strip() == "no finished runs"
    assert "left out: 1" in err
    assert printed(capsys, "--runs-dir", str(tmp_path / "runs"), "--json")[0].strip() == "[]"


def test_a_run_of_other_code_is_left_out_with_a_word(runs_dir: Path) -> None:
    run = Run(runs_dir / "elsewhere" / "default-4444444444")
    run.config.write_text(dump(example.train()).replace("width:", "breadth:"))
    found, notes = rows(select_finished([], runs_dir))
    assert len(found) == 2
    assert notes[0].startswith(f"left out: {run.config}: ")


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_drawn(runs_dir: Path, capsys: pytest.CaptureFixture[str], suffix: str, begins: bytes) -> None:
    path = runs_dir.parent / f"top1.{suffix}"
    out, err = printed(capsys, "--runs-dir", str(runs_dir), "--plot", str(path))
    assert "81.00 ± 1.00" in out
    assert f"drawn: {path}" in err
    assert path.read_bytes().startswith(begins)
    assert sorted(found.name for found in path.parent.iterdir()) == ["runs", path.name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("top1.txt", "--plot: top1.txt names no kind of picture; end it with one of .png, .svg, .pdf"),
        ("nowhere/top1.png", "--plot: nowhere: no such folder"),
    ],
)
def test_what_nothing_can_be_drawn_into(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert main(["table", "--runs-dir", str(runs_dir), "--plot", name]) == 2
    assert said in capsys.readouterr().err


def test_without_matplotlib(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert main(["table", "--runs-dir", str(runs_dir), "--plot", "top1.png"]) == 2
    assert "matplotlib is not installed here; pip install matplotlib" in capsys.readouterr().err


def test_forms_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "--csv", "--json"])
    assert "not allowed with" in capsys.readouterr().err


def test_no_torch(runs_dir: Path) -> None:
    root = Path(__file__).resolve().parents[4]
    script = (
        "import sys; sys.path.insert(0, ''); from launch.commands import results; from pathlib import Path; "
        "results.show(results.select_finished([], Path(sys.argv[1])), 'csv'); "
        "print(sorted({'torch', 'hydra', 'submitit', 'numpy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", script, str(runs_dir)]
    ran = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]"
