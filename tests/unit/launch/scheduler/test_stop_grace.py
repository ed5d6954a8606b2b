import os
from pathlib import Path

import pytest
from run_folder import Slurm, slurm

from launch.scheduler import stop_grace
from launch.scheduler.slurm_command import SlurmError
from launch.scheduler.stop_grace import Grants

PARTITION = (
    "PartitionName=low AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=100 Hidden=NO MaxNodes=UNLIMITED "
    "MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] PriorityJobFactor=1 "
    "PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP "
    "TotalCPUs=64 TotalNodes=4 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED "
    "MaxMemPerNode=UNLIMITED TRES=cpu=64,mem=62.50G,node=4,billing=64,gres/gpu=8\n"
)
CONFIG = """\
KillOnBadExit           = 0
KillWait                = 100 sec
LaunchParameters        = (null)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def test_what_a_preempted_job_is_granted(cluster: Slurm) -> None:
    cluster.says("scontrol", PARTITION + CONFIG)
    assert stop_grace.grants("low") == Grants("low", None, grace_time_s=100, kill_wait_s=100)
    assert stop_grace.grants("low").preempted_s == 200
    assert cluster.calls[:2] == ["scontrol show config", "scontrol --oneliner show partition low"]
    cluster.says("scontrol", "PartitionName=low State=UP\n")
    assert stop_grace.grants("low").preempted_s is None


QOS = "Accounting is down on Monday\nunset|\nnormal|00:00:00\nspot|00:01:40\nslow|1-00:00:01"
BY_QOS = "PreemptType             = preempt/qos\n"


@pytest.mark.parametrize(
    ("qos", "default", "found"),
    [
        ("spot", "", Grants("low", "spot", 100, 100)),
        ("slow", "spot", Grants("low", "slow", 86401, 100)),
        (None, "spot\nnormal\n", Grants("low", "spot", 100, 100)),
        (None, "", Grants("low", "normal", 0, 100)),
        ("gone", "", Grants("low", "gone", None, 100)),
        ("unset", "", Grants("low", "unset", None, 100)),
    ],
)
def test_where_qos_preempt_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qos: str | None, default: str, found: Grants
) -> None:
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho '{CONFIG}{BY_QOS}'\n")
    lines = [f"case \"$*\" in *\" assoc \"*) echo '{default}' ;; *) echo '{QOS}' ;; esac"]
    (tmp_path / "sacctmgr").write_text("\n".join(["#!/bin/sh", *lines, ""]))
    for name in ("scontrol", "sacctmgr"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert stop_grace.grants("low", qos) == found


@pytest.mark.parametrize("kind", [KeyError, OSError])  # of Python up to 3.12, and of later ones
def test_a_user_without_a_name(
    cluster: Slurm, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def unnamed() -> str:
        raise kind("uid not found")

    cluster.says("scontrol", CONFIG + BY_QOS)
    monkeypatch.setattr("getpass.getuser", unnamed)
    with pytest.raises(SlurmError, match="has no name here"):
        stop_grace.grants("low")
