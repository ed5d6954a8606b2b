from pathlib import Path

from dnw.runs.folder import Run
from launch.self_test import findings
from launch.self_test.findings import Finding, Record

RECORD = Record("ties", "shows ties", "failed", "2 differ", "0", 1.5, ("ties.1", "ties.2"))


def test_records_are_read_in_the_order_of_the_checks(tmp_path: Path) -> None:
    run = Run(tmp_path)
    other = Record("exact", "shows exact", "passed", "same", "", 2.0, ())
    findings.write(run, RECORD)
    findings.write(run, other)
    assert findings.read(run, ["exact", "never made", "ties"]) == [other, RECORD]
    findings.remove(run, RECORD)
    assert findings.read(run, ["ties", "exact"]) == [other]


def test_what_is_right_has_passed() -> None:
    assert findings.judged(True, "1.0", "2.0") == Finding("passed", "1.0", "2.0")
    assert findings.judged(False, "3.0").state == "failed"
