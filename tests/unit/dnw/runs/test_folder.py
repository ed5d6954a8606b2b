import json
from pathlib import Path

from dnw.runs.folder import Run, finished, step_path, steps


def test_names_in_a_run_folder() -> None:
    run = Run(Path("runs/demo/default-0123456789"))
    assert run.name == "demo/default-0123456789"
    assert run.log(3, 1) == run.folder / "logs" / "003-1.log"
    assert step_path(run.checkpoints, 42) == run.folder / "checkpoints" / "step-00000042.pt"


def test_steps_rise_and_are_of_whole_names(tmp_path: Path) -> None:
    assert steps(tmp_path / "none") == []
    for name in ("step-00000010.pt", "step-00000009.pt", "step-9.pt", "step-00000011.pt.damaged", "best.pt"):
        (tmp_path / name).touch()
    assert steps(tmp_path) == [9, 10]


def test_a_run_is_finished_with_its_last_and_its_first_weights(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    run.result.write_text(json.dumps({"steps": 10}))
    (run.checkpoints / "init.pt").touch()
    assert not finished(run)
    step_path(run.checkpoints, 9).touch()
    assert not finished(run)
    step_path(run.checkpoints, 10).touch()
    assert finished(run)
    (run.checkpoints / "init.pt").unlink()
    assert not finished(run)
