from pathlib import Path

import pytest
from example import train as example

from dnw import config
from dnw.runs.folder import Run
from launch.self_test import findings, report
from launch.self_test.findings import Record


def a_record(check: str, state: findings.State) -> Record:
    return Record(check, f"shows {check}", state, "a | figure", "held to", 1.25, (f"{check}-case.1",))


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    run.code.mkdir()
    (run.code / "code.json").write_text(
        '{"commit": "0123456789abcdef", "dirty": true, "digest": "ffeeddccbbaa99", "files": {}}'
    )
    run.config.write_text(config.dump(example(steps=5)))
    report.show(run)
    assert capsys.readouterr().out == ""
    findings.write(run, a_record("exact", "not here"))
    findings.write(run, a_record("trained", "failed"))
    report.write(run, ["n1", "n2"], 4)
    lines = (run.folder / report.NAME).read_text().splitlines()
    assert lines[0] == "# Self-test: 0 passed, 1 failed, 1 not here, 3 not made"
    assert "- code: 0123456789ab, edited, digest ffeeddccbbaa" in lines
    assert lines[-2:] == [
        "| shows trained | **failed** | a / figure | held to | 1.2 |",
        "| shows exact | **not here** | a / figure | held to | 1.2 |",
    ]
    report.show(run)
    assert "a | figure" in capsys.readouterr().out
