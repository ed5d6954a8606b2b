from pathlib import Path

import pytest
from run_folder import slurm

from launch.scheduler import slurm_command
from launch.scheduler.slurm_environment import for_queries

THEIRS = {
    **{"SQUEUE_STATES": "PENDING", "SQUEUE_FORMAT": "%j", "SACCT_FORMAT": "JobName", "SINFO_FORMAT": "%N"},
    **{
        "SCANCEL_USER": "somebody",
        "SCONTROL_ALL": "everything",
        "SLURM_CLUSTERS": "elsewhere",
        "LC_ALL": "de_DE.UTF-8",
    },
    **{"SLURM_TIME_FORMAT": "relative", "SLURM_BITSTR_LEN": "8", "SLURM_TOPO_LEN": "3"},
}
OF_THE_SITE = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_CONF_SERVER": "ctl", "SLURM_JWT": "ey", "PATH": "/bin"}


def test_defaults_of_the_users_change_no_question() -> None:
    fixed = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}
    fixed |= {"SQUEUE_ALL": "1", "SINFO_ALL": "1", "SCONTROL_ALL": "1"}  # hidden partitions, too
    assert for_queries({**THEIRS, **OF_THE_SITE}) == {**OF_THE_SITE, **fixed}


def test_every_call_goes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = slurm(tmp_path, monkeypatch)
    for name, value in THEIRS.items():
        monkeypatch.setenv(name, value)
    cluster.says("squeue")
    (cluster.lab / "bin" / "squeue").write_text("#!/bin/sh\nexport -p\n")
    said = slurm_command.ask("squeue")
    assert {name for name in THEIRS if name in said} == {
        *("LC_ALL", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "SCONTROL_ALL")
    }
    assert not [name for name, value in THEIRS.items() if f"{name}='{value}'" in said]
