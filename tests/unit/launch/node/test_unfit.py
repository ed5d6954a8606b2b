"""What a node does on which there is no Python, or nothing in it; scontrol is a stand-in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dnw.runs import frozen_code, ledger
from dnw.runs.folder import Run
from launch.node import retry_policy, unfit
from launch.node.topology import LOOPBACK, Node

START = Path(unfit.__file__).with_name("start.sh")
# `sleep` stands for the wait until Slurm ends the task.
SCONTROL = """#!/bin/sh
if [ "$1" = requeue ] && [ "$(grep -c requeue "$ASKED")" -lt "${AWAY:-0}" ]; then
    echo "$*" >>"$ASKED"
    echo "slurm_requeue error: ${SAYS:-Unable to contact slurm controller (connect failure)}" >&2
    exit 1
fi
case "$*" in
    *hostnames*) echo "$3" | tr , '\n' ;;
    *partition*) echo "PartitionName=$4 TotalNodes=${TOTAL:-5}" ;;
    *show*) echo JobId=7 ExcNodeList=n9 Partition=low ;;
    *) echo "$*" >>"$ASKED" ;;
esac
"""


ELEMENT = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}  # the last one of its array


def started(
    run: Run, python: str, rank: int = 0, restart: int = 0, more: Mapping[str, str] = {}
) -> tuple[int, str, list[str]]:
    """The exit code, what it printed, and what Slurm was asked."""
    tools = run.folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in (("scontrol", SCONTROL), ("sleep", "#!/bin/sh\nexit 99\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    asked = run.folder.parent / "asked"
    asked.write_text("")
    variables = {
        **{"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restart), "SLURM_NODEID": str(rank)},
        **{"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_PARTITION": "low"},
        **{"SLURMD_NODENAME": f"n{rank + 1}", "PATH": f"{tools}:/usr/bin:/bin", "ASKED": str(asked)},
        **more,
    }
    words = ["/bin/sh", str(START), str(run.folder), python, "-c", "print('here')"]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr, asked.read_text().splitlines()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run; the tests that read are the third start of job 7."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def test_where_all_is_there_it_is_that_python(run: Run) -> None:
    assert started(run, sys.executable) == (0, "here\n", [])
    assert not run.unfit.exists()


@pytest.mark.parametrize(("more", "name"), [({}, "7"), (ELEMENT, "7_3")], ids=["job", "element"])
def test_what_a_job_does_whose_id_nobody_knew_is_found_by_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Mapping[str, str], name: str
) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    monkeypatch.setitem(globals(), "START", shutil.copy(START, folder))
    kept, named = folder / f"{name.partition('_')[2] or 0}.pkl", folder / f"{name}_submitted.pkl"
    assert started(run, sys.executable, more=more) == (0, "here\n", [])
    assert not named.is_symlink()
    kept.write_bytes(b"what to do")
    for rank in (0, 1):
        assert started(run, sys.executable, rank, more=more) == (0, "here\n", [])
    assert named.read_bytes() == b"what to do"
    kept.rename(named)  # by whoever has learned it meanwhile
    assert started(run, sys.executable, more=more) == (0, "here\n", [])
    assert named.read_bytes() == b"what to do"


def test_another_node_than_the_first_leaves_word_and_waits(run: Run) -> None:
    code, told, asked = started(run, "/no/python", rank=1, restart=2)
    assert (code, told, asked) == (99, "n2: /no/python: not there, or not executable\n", [])
    assert unfit.reports(run) == {1: {"code": 69, "detail": "/no/python: not there, or not executable"}}
    os.environ["SLURM_RESTART_COUNT"] = "3"  # of another start of the job it says nothing
    assert unfit.reports(run) == {}


def test_an_environment_without_packages(run: Run, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 -I -S "$@"\n')
    bare.chmod(0o755)
    code, told, _ = started(run, str(bare), rank=1)
    assert (code, told) == (99, f"n2: {bare}: no module named submitit, omegaconf, pydantic\n")


@pytest.mark.parametrize(
    ("more", "code", "times"),
    [
        ({"AWAY": "3"}, 99, 4),
        ({"AWAY": "999"}, 69, 90),
        ({"AWAY": "999", "SAYS": "presently disabled"}, 69, 1),
    ],
    ids=["away", "gone", "refuses"],
)
def test_a_controller_that_is_away_is_asked_again(
    run: Run, more: Mapping[str, str], code: int, times: int
) -> None:
    found, _, asked = started(run, "/no/python", more=more)
    assert (found, asked) == (code, ["requeue 7"] * times)


def test_a_first_node_has_the_job_start_again_then_elsewhere(run: Run) -> None:
    assert started(run, "/no/python", restart=0)[2] == ["requeue 7"]
    again, excluded = started(run, "/no/python", restart=1)[2]
    assert (again, excluded) == ("requeue 7", "update JobId=7 ExcNodeList=n9,n1")
    started(run, "/no/python", rank=1, restart=1)
    unfit.enter_into_ledger(run)  # the third start has a first node
    ends = [attempt.end or {} for attempt in ledger.read(run)]
    assert [(end["reason"], end["node"]) for end in ends] == [("unfit", "n1"), ("unfit", "n1")]
    assert ends[0]["detail"] == "n1: /no/python: not there, or not executable"
    assert retry_policy.nodes_to_exclude(ledger.read(run)) == ["n1"]
    assert list(run.unfit.iterdir()) == []


@pytest.mark.parametrize(("nodes", "is_excluded"), [(4, True), (3, False)])
def test_a_first_node_is_left_where_there_are_enough_others(run: Run, nodes: int, is_excluded: bool) -> None:
    """One is excluded already, the job needs two."""
    started(run, "/no/python", restart=0)
    code, told, asked = started(run, "/no/python", restart=1, more={"TOTAL": str(nodes)})
    assert code == 99
    assert asked == ["requeue 7", *(["update JobId=7 ExcNodeList=n9,n1"] if is_excluded else [])]
    why = "excluded from now on" if is_excluded else "not excluded: too few nodes would be left"
    assert f"n1 failed twice{':' if is_excluded else ';'} {why}\n" in told


def test_it_ends_where_no_node_has_it(run: Run) -> None:
    for restart in range(retry_policy.MOST_UNMET - 1):
        assert started(run, "/no/python", restart=restart)[0] == 99
    code, told, asked = started(run, "/no/python", restart=retry_policy.MOST_UNMET - 1)
    assert (code, asked) == (69, [])
    assert "4 starts in a row had no first node: not started again" in told
    assert unfit.last_words(run) == "n1: /no/python: not there, or not executable"


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("fault", ["a bit", "the end"])
def test_damaged_code_is_no_fault_of_a_node(run: Run, rank: int, fault: str) -> None:
    """The job ends, unless another node alone has seen it: then the first one is told."""
    packed = bytearray(frozen_code.pack({}, {"a.py": (b"a = 1" * 99, 0o644)}))
    if fault == "a bit":
        packed[packed.index(b"a.py") + 8] ^= 16
    run.code.write_bytes(packed if fault == "a bit" else packed[:-30])
    code, told, asked = started(run, sys.executable, rank=rank, restart=2)
    assert (code, asked) == (99 if rank else 65, [])
    why = unfit.last_words(run)
    assert why.startswith(f"{run.code}: damaged (")
    assert why.endswith(f"); {frozen_code.REMEDY}")
    assert told == f"n{rank + 1}: {why}\n"
    assert unfit.reports(run) == {rank: {"code": 65, "detail": why}}
    os.environ["SLURM_RESTART_COUNT"] = "3"
    unfit.enter_into_ledger(run)
    ends = [attempt.end or {} for attempt in ledger.read(run)]
    assert [(end["reason"], end["detail"], "node" in end) for end in ends] == [("error", why, False)] * (
        not rank
    )
    assert retry_policy.nodes_to_exclude(ledger.read(run)) == []


def test_an_element_of_an_array_is_named_as_such(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ELEMENT.items():
        monkeypatch.setenv(name, value)
    assert started(run, "/no/python", restart=1, more=ELEMENT)[2] == ["requeue 7_3"]
    started(run, "/no/python", rank=1, restart=2, more=ELEMENT)
    assert list(unfit.reports(run)) == [1]
    unfit.enter_into_ledger(run)
    assert [attempt.job for attempt in ledger.read(run)] == ["7_3"]


def test_what_is_being_written_or_removed_is_not_read(run: Run) -> None:
    run.unfit.mkdir()
    (run.unfit / "7-2-1.new").write_text("n2")
    (run.unfit / "7-2-2").symlink_to("removed")
    assert unfit.reports(run) == {}


def test_word_of_a_run_that_could_not_begin_beside_others(run: Run) -> None:
    """Its process has ended; the next start of the job, or the status before it, tells why."""
    node = Node(0, 1, LOOPBACK, "7", 1, ("n1",), in_slurm=True)
    unfit.leave_word(run, node, "its process ended")
    assert unfit.last_words(run) == "its process ended"
    assert unfit.reports(run) == {}  # of another start
    unfit.enter_into_ledger(run)
    (attempt,) = ledger.read(run)
    assert attempt.end is not None
    assert (attempt.reason, attempt.end["detail"]) == ("error", "its process ended")
    assert unfit.last_words(run) == ""
