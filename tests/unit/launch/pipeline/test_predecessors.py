"""Which runs wait for which, in which order they are submitted, and what can't be waited for."""

import json
import re
import shlex
import sys
import time
from pathlib import Path

import pytest
from login_node import Captured, Typed, damage
from run_folder import note, submit

from dnw.runs import frozen_code
from dnw.runs.folder import Run, step_path
from dnw.runs.lock import Lock
from launch import app

PIPELINE = ("-m", "+exp=cifar_one_shot,cifar_complete,cifar_fine_tune")
SBATCH = """#!/bin/sh
number=$(ls "$LAB" | grep -c script-)
for word; do :; done
case "$1" in --test-only) cat >"$LAB/tried"; echo "sbatch: Job 7 to start" >&2; exit 0 ;; esac
cp "$word" "$LAB/script-$number"
at=$(date +%s)
count=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$word")
if [ "$count" ]; then
    for index in $(seq 0 "$count"); do echo "4${number}_$index|PENDING|Priority||low|$at|N/A|$word"; done
else
    echo "4$number|PENDING|Priority||low|$at|N/A|$word"
fi >>"$LAB/queue"
echo "Submitted batch job 4$number"
"""
SQUEUE = '#!/bin/sh\ncat "$LAB/queue" 2>/dev/null\nexit 0\n'
FOUND = {"step": 3, "what": "the loss", "rate": 0.1, "rank": 0}
SACCT = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launch_shards: Path, lab: Path, typed: Typed
) -> Typed:
    """Types the submit command, any experiment, where Slurm counts jobs from 40."""
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("sacct", SACCT)):
        (lab / "bin" / name).write_text(text)
        (lab / "bin" / name).chmod(0o755)

    def run(*words: str) -> int:
        launch = app.foreground if "HERE" in words else app.background
        given = [word for word in words if word != "HERE"]
        monkeypatch.setattr(sys, "argv", ["launch/slurm.py", *given, f"data.dir={launch_shards}"])
        return app.main(launch)

    return run


def runs_of(tmp_path: Path, exp: str) -> list[Run]:
    return [Run(path) for path in sorted((tmp_path / "runs" / exp).glob("[!.]*"))]


def dependencies(lab: Path) -> list[str]:
    """Of each job or array that was submitted, in order."""
    scripts = (lab / f"script-{number}" for number in range(len(list(lab.glob("script-*")))))
    found = [
        re.findall(r"^#SBATCH --dependency=(.*)$", script.read_text(), re.MULTILINE) for script in scripts
    ]
    return [dependency[0] if dependency else "" for dependency in found]


def be_done(run: Run) -> None:
    (run.checkpoints / "init.pt").touch()
    step_path(run.checkpoints, 7).touch()
    run.result.write_text(json.dumps({"steps": 7}))


def test_one_line_in_any_order(line: Typed, lab: Path, tmp_path: Path, capfd: Captured) -> None:
    assert line(*PIPELINE) == 0
    (first,) = runs_of(tmp_path, "cifar_complete")
    assert dependencies(lab) == ["", "afterany:40"]
    assert capfd.readouterr().out.count(f"after   {first.name} (job 40 on slurm)\n") == 2
    script = (lab / "script-1").read_text()
    assert "#SBATCH --array=0-1%" in script
    words = f'"${{CODE[${{SLURM_ARRAY_TASK_ID:-0}}]%/code*}}" {first.folder} || exit'
    gate = script.index(f" -u -m launch.pipeline.gate {words}\n")
    assert script.index("export PYTHONPATH=") < gate < script.index("srun ")
    for exp in ("cifar_fine_tune", "cifar_one_shot"):
        (run,) = runs_of(tmp_path, exp)
        assert json.loads(run.launch.read_text())["after"] == [str(first.folder)]
    assert "after" not in json.loads(first.launch.read_text())

    assert line(*PIPELINE) == 0
    assert len(dependencies(lab)) == 2
    assert capfd.readouterr().out.count(": queued, job 4") == 3


def test_each_of_a_sweep_waits_for_its_own(line: Typed, lab: Path, capfd: Captured) -> None:
    """Slurm limits each array alone, which is said; who is told that a run won't begin is handed on."""
    words = ["seed=0,1", "optim.weight_decay=0.1,0.2", "hydra.launcher.array_parallelism=7"]
    assert line("-m", "+exp=cifar_complete,cifar_fine_tune", *words, "notify.command='echo it'") == 0
    assert capfd.readouterr().out.count("note    array_parallelism=7 holds for each stage: ") == 1
    told = """\nenv 'DNW_NOTIFY={"command": "echo it", "by": null}' """
    assert [told in (lab / f"script-{number}").read_text() for number in range(5)] == [False, *[True] * 4]
    assert dependencies(lab) == ["", *(f"afterany:40_{index}" for index in range(4))]


def test_what_is_done_is_waited_for_no_more(line: Typed, lab: Path, tmp_path: Path) -> None:
    assert line("+exp=cifar_complete") == 0
    assert line("+exp=cifar_one_shot") == 0  # typed later: the job is in the queue
    be_done(runs_of(tmp_path, "cifar_complete")[0])
    (lab / "queue").unlink()
    assert line("+exp=cifar_fine_tune", "after=cifar_complete") == 0
    assert dependencies(lab) == ["", "afterany:40", ""]
    assert "launch.pipeline.gate" not in (lab / "script-2").read_text()


def test_ways_to_name_a_run(line: Typed, lab: Path, tmp_path: Path) -> None:
    assert line("-m", "+exp=static_dnw", "seed=1,2") == 0
    one, other = runs_of(tmp_path, "static_dnw")
    single = [one.name, "seed=1", f"runs/{one.name}", str(one.folder)]
    several = ["static_dnw/*seed=[12]*", "runs/static_dnw/*seed=[12]*", f'["{one.name}","{other.name}"]']
    for seed, word in enumerate([*single, *several], start=3):
        assert line("+exp=static_dnw", f"seed={seed}", f"after={word}") == 0
    assert dependencies(lab)[1:] == ["afterany:40_0"] * 4 + ["afterany:40_0:40_1"] * 3


def test_a_dependency_of_the_users_own_holds_too(line: Typed, lab: Path) -> None:
    assert line("+exp=static_dnw", "seed=1") == 0
    words = ["after=seed=1", "cluster.additional_parameters={dependency: singleton}"]
    assert line("+exp=static_dnw", "seed=2", *words) == 0
    assert dependencies(lab)[1] == "singleton,afterany:40"


def test_a_dry_run_shows_it(line: Typed, lab: Path, tmp_path: Path, capfd: Captured) -> None:
    assert line(*PIPELINE, "dry_run=true") == 0
    out = capfd.readouterr().out
    assert len(re.findall(r"^# after cifar_complete/default-\w{10}, of this line$", out, re.MULTILINE)) == 2
    assert not (tmp_path / "runs").exists()
    assert line("+exp=static_dnw", "seed=1") == 0
    capfd.readouterr()
    assert line("+exp=static_dnw", "seed=2", "after=seed=1", "dry_run=true") == 0
    out = capfd.readouterr().out
    assert re.search(r"^# after static_dnw/seed=1-\w+ is queued \(job 40 on slurm\)$", out, re.MULTILINE)
    assert "#SBATCH --dependency=afterany:40\n" in out
    assert line("+exp=static_dnw", "seed=2", "after=seed=9", "dry_run=true") == 2


def test_begun_anew_it_is_waited_for(line: Typed, lab: Path, tmp_path: Path) -> None:
    assert line("+exp=cifar_complete") == 0
    (lab / "queue").unlink()
    be_done(runs_of(tmp_path, "cifar_complete")[0])
    assert line("-m", "+exp=cifar_complete,cifar_fine_tune", "fresh=true") == 0
    assert dependencies(lab)[1:] == ["", "afterany:41"]


def test_a_circle(line: Typed, lab: Path, capfd: Captured) -> None:
    assert line("+exp=static_dnw", "seed=1") == 0
    assert line("+exp=static_dnw", "seed=2", "after=seed=1") == 0
    (lab / "queue").write_text((lab / "queue").read_text().replace("40|", "39|"))  # the first one is gone
    capfd.readouterr()
    assert line("+exp=static_dnw", "seed=1", "after=seed=2") == 2
    said = r"after: (\S+) would wait for (\S+seed=2\S+), which waits for \1; leave one of them out\n"
    assert re.fullmatch(said, capfd.readouterr().err)
    assert line("+exp=static_dnw", "seed=2", "after=seed=2") == 2
    assert re.fullmatch(r"after: (\S+) would wait for \1; leave .*\n", capfd.readouterr().err)


REFUSED = {
    "after=seed=9": r"after: seed=9: no run of this name below \S+runs(; did you mean .*)?",
    "after=seed": r"after: seed: fits 2 runs: static_dnw/seed=1-\w+, static_dnw/seed=2-\w+",
    "after=nothing/*": r"after: nothing/\*: fits no run below \S+runs",
    "after=seed=1": r"after: static_dnw/seed=1-\w+ has failed \(error: no room\); type its command again, "
    "then this one",
    "after=seed=2 HERE": r"after: static_dnw/seed=2-\w+ is queued \(job 40_1 on slurm\); type this again "
    "once it is done, or submit it, which waits: python launch/slurm.py",
}


def test_what_cannot_be_waited_for(line: Typed, lab: Path, tmp_path: Path, capfd: Captured) -> None:
    assert line("-m", "+exp=static_dnw", "seed=1,2") == 0
    first = runs_of(tmp_path, "static_dnw")[0]
    note(first, 1, "claim", time.time(), job="40_0", restart=0, hosts=["n1"])
    note(first, 1, "end", time.time(), reason="error", detail="no room")
    queue = (lab / "queue").read_text().splitlines()
    (lab / "queue").write_text(f"{queue[1]}\n")
    capfd.readouterr()
    for words, said in REFUSED.items():
        assert line("+exp=static_dnw", "seed=3", *words.split()) == 2
        assert re.fullmatch(f"{said}\n", (err := capfd.readouterr().err)), err
    assert len(dependencies(lab)) == 1
    assert len(runs_of(tmp_path, "static_dnw")) == 2


def test_one_at_work_that_is_no_job(line: Typed, lab: Path, tmp_path: Path, capfd: Captured) -> None:
    assert line("+exp=static_dnw", "seed=1") == 0
    (run,) = runs_of(tmp_path, "static_dnw")
    submit(run, "1", cluster="local")
    (lab / "queue").unlink()
    with Lock.take(run.lock) as held:
        held.write(attempt=1, job="-", pid=1, host="here")
        capfd.readouterr()
        assert line("+exp=static_dnw", "seed=2", "after=seed=1") == 2
    said = capfd.readouterr().err
    assert (
        "no job of Slurm's that another could wait for; type this again once it is done, or with clu" in said
    )


def test_one_of_the_line_that_has_diverged(line: Typed, lab: Path, tmp_path: Path, capfd: Captured) -> None:
    assert line("+exp=cifar_complete") == 0
    (run,) = runs_of(tmp_path, "cifar_complete")
    note(run, 1, "claim", time.time(), job="40", restart=0, hosts=["n1"])
    note(run, 1, "end", time.time(), reason="diverged", detail="inf", diverged=FOUND, step=3)
    (lab / "queue").unlink()
    capfd.readouterr()
    assert line(*PIPELINE) == 2
    err = capfd.readouterr().err
    assert err.count("not submitted: wiring.source: ") == 2, err
    assert len(dependencies(lab)) == 1


LACKING = [
    ("launch/pipeline/gate.py", "after=seed=1", "can't wait for other runs; leave that out, or type"),
    (
        "launch/node/notices/channels.py",
        "notify.mail=me@example.org notify.smtp=localhost",
        "can't send mail or messages; take",
    ),
    ("dnw/tracking/follow.py", "track=[wandb]", "can't feed trackers; leave that out, or type this again"),
    (
        "launch/pack/child.py",
        "-m pack=2",
        "can't share a job with others; leave that out, or type this again",
    ),
]


@pytest.mark.parametrize(("file", "word", "said"), LACKING, ids=["after", "notify", "track", "pack"])
def test_code_of_an_earlier_version(
    line: Typed, lab: Path, tmp_path: Path, capfd: Captured, file: str, word: str, said: str
) -> None:
    assert line("-m", "+exp=static_dnw", "seed=1,2") == 0
    second = runs_of(tmp_path, "static_dnw")[1]
    record = frozen_code.read_record(second.code)
    del record["files"][file]
    damage(second.code, file, None)
    damage(second.code, "code.json", json.dumps(record))
    queue = (lab / "queue").read_text().splitlines()
    (lab / "queue").write_text(f"{queue[0]}\n")
    capfd.readouterr()
    assert line("+exp=static_dnw", "seed=2", *word.split()) == 2
    assert (
        f"it keeps the code that it began with, of an earlier version, which {said}" in capfd.readouterr().err
    )
    assert line("+exp=static_dnw", "seed=2", *word.split(), "code=new") == 0
    assert dependencies(lab)[1] == ("afterany:40_0" if word.startswith("after") else "")


def test_the_commands_of_the_documents(line: Typed, lab: Path) -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "launching.md").read_text()
    section = text.partition("## Pipelines\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^    python launch/slurm.py (.*)$", section, re.MULTILINE)
    assert [line(*shlex.split(command)) for command in commands] == [0, 0]
    assert dependencies(lab) == ["", "afterany:40", "afterany:40"]


def waiting(lab: Path, number: int) -> list[dict[str, list[str]]]:
    """What each job of a submission tells the gate of the runs that share it."""
    (path,) = re.findall(
        r"-m launch.pipeline.gate --pack (\S+/waiting.json) \|\| exit$",
        (lab / f"script-{number}").read_text(),
        re.MULTILINE,
    )
    return list(json.loads(Path(path).read_text()))


def test_runs_that_share_a_job_and_what_they_wait_for(line: Typed, lab: Path, tmp_path: Path) -> None:
    assert line(*PIPELINE, "pack=2") == 0
    (first,) = runs_of(tmp_path, "cifar_complete")
    (one,) = runs_of(tmp_path, "cifar_one_shot")
    (other,) = runs_of(tmp_path, "cifar_fine_tune")
    assert dependencies(lab) == ["", "afterany:40"]
    assert waiting(lab, 1) == [{str(run.folder): [str(first.folder)] for run in (one, other)}]
    record = json.loads(one.launch.read_text())
    assert (record["job"], record["after"]) == ("41", [str(first.folder)])
    assert record["pack"] == [str(one.folder), str(other.folder)]
    assert waiting(lab, 1)[0].keys() == set(record["pack"])


def test_runs_that_share_a_job_and_wait_for_their_own(line: Typed, lab: Path, tmp_path: Path) -> None:
    """A job waits for what any of its runs does, and for no more."""
    words = ["seed=0,1", "optim.weight_decay=0.1,0.2", "pack=2"]
    assert line("-m", "+exp=cifar_complete,cifar_fine_tune", *words) == 0
    assert dependencies(lab) == ["", "afterany:40_0", "afterany:40_1"]
    for number, seed in enumerate((0, 1), start=1):
        (found,) = waiting(lab, number)
        assert [len(after) for after in found.values()] == [1, 1]
        for run, (other,) in found.items():
            assert Path(run).name.rpartition("-")[0] == Path(other).name.rpartition("-")[0]
            assert f"seed={seed}" in run or not seed
    submitted = {run.name: json.loads(run.launch.read_text()) for run in runs_of(tmp_path, "cifar_fine_tune")}
    assert sorted(one["job"] for one in submitted.values()) == ["41", "41", "42", "42"]
    assert {len(one["after"]) for one in submitted.values()} == {1}


def test_no_run_waits_for_one_of_its_own_job(line: Typed, lab: Path, tmp_path: Path) -> None:
    assert line("+exp=static_dnw", "seed=1") == 0
    (first,) = runs_of(tmp_path, "static_dnw")
    assert line("-m", *PIPELINE[1:], f"after={first.name}", "pack=4") == 0
    assert dependencies(lab) == ["", "afterany:40", "afterany:41:40"]
    assert line("-m", "+exp=static_dnw", "seed=2,3,4,5", f"after={first.name}", "pack=2") == 0
    assert dependencies(lab)[3:] == ["afterany:40"]
    assert [len(job) for job in waiting(lab, 3)] == [2, 2]
    assert "#SBATCH --array=0-1%" in (lab / "script-3").read_text()


def test_the_command_of_the_documents_for_packs(line: Typed, lab: Path) -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "launching.md").read_text()
    section = text.partition("## Several runs in one job\n")[2].partition("\n## ")[0]
    (command,) = re.findall(r"^    python launch/slurm.py (.*)$", section, re.MULTILINE)
    assert line(*shlex.split(command)) == 0
    (script,) = lab.glob("script-*")
    assert "--array" not in script.read_text()
