import dataclasses
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from run_folder import make, submit

from launch.cluster.submission import controller, newest, submission
from launch.config import Cluster, Launch
from launch.errors import LaunchError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert newest(run) is None
    cluster = Cluster(name="slurm", grace_s=60)
    launch = Launch(
        nodes=2, nproc=3, port=None, runs_dir=tmp_path, fresh=False, dry_run=False, cluster=cluster
    )
    made = submission(launch, "slurm", "7_1", tmp_path / "1")
    made.write(run)
    read = newest(run)
    assert read is not None
    assert read.settings == json.loads(json.dumps(made.settings))  # lists for tuples
    assert dataclasses.replace(read, settings=made.settings) == made
    assert (made.nodes, made.nproc, made.host, made.folder) == (2, 3, socket.gethostname(), f"{tmp_path}/1")
    assert made.settings["grace_s"] == 60
    assert "name" not in made.settings
    assert abs(made.time - time.time()) < 60
    assert made.stop_command == "scancel 7_1"


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": "slurm"}'])
def test_a_damaged_note(tmp_path: Path, text: str) -> None:
    run = make(tmp_path)
    run.launch.write_text(text)
    with pytest.raises(LaunchError, match=r"launch\.json: damaged, or another version's"):
        newest(run)


def test_a_controller_is_known_by_more_than_its_number(tmp_path: Path) -> None:
    run = make(tmp_path)
    line = ["/bin/sh", "-c", "read -r _", str(run.slurm / "1")]
    with subprocess.Popen(line, stdin=subprocess.PIPE) as process:
        here = submit(run, str(process.pid), "local")
        assert here.stop_command == f"kill {process.pid}"
        assert controller(here) == process.pid
        assert controller(submit(run, str(process.pid), "local", host="elsewhere")) is None
        assert controller(submit(run, str(process.pid), "slurm")) is None
        assert controller(submit(run, str(os.getpid()), "local")) is None  # another process
    assert controller(here) is None
