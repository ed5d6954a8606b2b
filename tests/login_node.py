"""A login node: stand-ins for Slurm's commands in PATH, and the submit command, typed beside them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dnw.runs import frozen_code
from dnw.runs.folder import Run
from launch import app

Typed = Callable[..., int]
Captured = pytest.CaptureFixture[str]

SBATCH = """#!/bin/sh
env | grep -E "^(SLURM|SBATCH|SRUN|CUDA)_" | sort > "$LAB/env"
if [ "$1" = --test-only ]; then
    cat > "$LAB/tried"
    [ -e "$LAB/refuse" ] && { echo "allocation failure: Invalid partition name specified" >&2; exit 1; }
    echo "sbatch: Job 7 to start at 2026-11-23T01:11:33 using 2 processors on nodes n[1-2]" >&2; exit 0
fi
cp "$1" "$LAB/script-$(ls "$LAB" | grep -c script-)"
[ -e "$LAB/refuse" ] && { cat "$LAB/refuse" >&2; exit 1; }
echo "Submitted batch job 4711"
"""
SQUEUE = """#!/bin/sh
case "$*" in *"--jobs=4711 "*) cat "$LAB/queue" 2>/dev/null ;; esac
exit 0
"""
SCONTROL = """#!/bin/sh
case "$*" in
"show partition --oneliner") cat "$LAB/partitions" ;;
"--oneliner show partition "*) grep "PartitionName=$4 " "$LAB/partitions" ;;
"show config") echo "KillReady = x"; echo "KillWait                = 30 sec" ;;
"show node n"[1-4]" --oneliner") echo "NodeName=$3 State=IDLE" ;;
*) exit 1 ;;
esac
"""
SINFO = """#!/bin/sh
cat "$LAB/nodes"
"""
NODES = """\
low*|4|(null)|(null)
short|4|(null)|(null)
gpu|6|a100,fast|gpu:a100:4(S:0-1)
gpu|2|v100|gpu:v100:8
gpu|2|(null)|(null)
old|3|k80|gpu:2,lustre:1
"""
PARTITIONS = """\
PartitionName=low AllowGroups=ALL Default=YES GraceTime=10 MaxNodes=UNLIMITED MaxTime=UNLIMITED TotalNodes=4
PartitionName=short AllowGroups=ALL Default=NO GraceTime=0 MaxNodes=2 MaxTime=01:00:00 TotalNodes=4
PartitionName=odd
"""


def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Slurm's commands, which are in PATH; what sbatch is given lands in it."""
    folder = tmp_path / "lab"
    (folder / "bin").mkdir(parents=True)
    stand_ins = {"sbatch": SBATCH, "srun": "#!/bin/sh\n", "squeue": SQUEUE, "scontrol": SCONTROL}
    stand_ins["sinfo"] = SINFO
    for name, text in stand_ins.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    (folder / "partitions").write_text(PARTITIONS)
    (folder / "nodes").write_text(NODES)
    monkeypatch.setenv("LAB", str(folder))
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    return folder


def typing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shards: Path) -> Typed:
    """Types `launch/slurm.py` with more words: the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        line = ["launch/slurm.py", "+exp=static_dnw", f"data.dir={shards}", *words]
        monkeypatch.setattr(sys, "argv", line)
        return app.main(app.background)

    return run


def runs(tmp_path: Path) -> list[Run]:
    return [Run(path) for path in sorted((tmp_path / "runs" / "static_dnw").iterdir())]


def runs_dir_is_empty(tmp_path: Path) -> bool:
    return not (tmp_path / "runs").exists()


def frozen(code: Path) -> dict[str, str]:
    """The files that a run keeps, by name."""
    names = frozen_code.read_record(code)["files"]
    with tempfile.TemporaryDirectory() as folder:
        there = frozen_code.unpacked(code, Path(folder))
        return {name: (there / name).read_text(errors="replace") for name in names}


def as_folder(run: Run) -> None:
    """Have a run keep its code as earlier versions did."""
    record = frozen_code.read_record(run.code)
    packed = run.code
    folder = frozen_code.unpacked(packed, run.folder)
    (folder / "code.json").write_text(json.dumps(record))
    packed.unlink()


def damage(code: Path, name: str, text: str | None) -> None:
    """Have another text under a name in the zip file, or none."""
    with zipfile.ZipFile(code) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    files |= {name: (text or "").encode()}
    with zipfile.ZipFile(code, "w") as archive:
        for one, content in files.items():
            if one != name or text is not None:
                archive.writestr(one, content)


def refreeze(run: Run, name: str, text: str) -> None:
    """Have a run keep other code than that of the working tree, as if this had been mended since."""
    record = frozen_code.read_record(run.code)
    record["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    record["digest"] = "0" * 64
    damage(run.code, name, text)
    damage(run.code, "code.json", json.dumps(record))


def edit(run: Run, before: str, after: str) -> None:
    text = run.config.read_text()
    assert before in text
    run.config.write_text(text.replace(before, after))
