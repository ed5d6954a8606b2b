"""What the daemons of a cluster are told: its settings, and the files made from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLUSTER = "playground"
CONTROLLER = "ctl"
FIRST_HOST = 10  # the controller's place in NETWORK; nodes follow
NETWORK = "10.99.0"  # inside namespaces: any number of clusters may use it at a time
CPUS = 16  # per node, as Slurm counts; nothing is bound to any


@dataclass(frozen=True)
class Settings:
    """What can differ between clusters. All times are seconds of the real clock, at any speed."""

    nodes: int = 4
    gpus: int = 2  # per node: device files that Slurm hands out, and nothing behind them
    grace_s: int = 10  # what a preempted job gets to stop in
    kill_wait_s: int = 10  # from TERM to KILL, of a cancelled or timed out job
    node_timeout_s: int = 4  # until a silent node is taken for lost
    user_signal: bool = False  # a preempted job first gets the signal it named, in place of TERM
    local_names: bool = False  # a node knows no other one by name, and itself as 127.0.1.1, as Debian has it
    by_qos: bool = False  # what preempts what, and how, is told by QOS, not by partitions
    largest_array: int | None = None  # MaxArraySize; None: Slurm's own default, 1001
    speed: int = 1  # how fast the daemons' clock runs; jobs live on the real one

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def address(self, name: str) -> str:
        """The IPv4 address of a node or the controller."""
        return f"{NETWORK}.{FIRST_HOST + [CONTROLLER, *self.names].index(name)}"


def slurm_conf(folder: Path, settings: Settings) -> str:
    """slurm.conf; everything that a daemon writes lies under `folder`."""

    def seconds(real: int) -> int:
        return real * settings.speed

    nodes = "".join(
        f"NodeName={name} NodeAddr={settings.address(name)} CPUs={CPUS} RealMemory=16000"
        f" Gres=gpu:{settings.gpus} State=UNKNOWN\n"
        for name in settings.names
    )
    grace = seconds(settings.grace_s)
    # cred_expire: so long a requeued job waits before it starts again; 5 is the least, 120 the default
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={CONTROLLER}({settings.address(CONTROLLER)})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={max(5, seconds(2))}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd-%n
SlurmctldDebug=debug
SlurmdDebug=debug
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
ReturnToService=2
SlurmdParameters=config_overrides
{"SlurmctldParameters=preempt_send_user_signal" if settings.user_signal else ""}
{"" if settings.largest_array is None else f"MaxArraySize={settings.largest_array}"}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/{"qos" if settings.by_qos else "partition_prio"}
PreemptMode=REQUEUE
JobRequeue=1
SlurmctldTimeout={seconds(10)}
MinJobAge={seconds(600)}
SlurmdTimeout={seconds(settings.node_timeout_s)}
MessageTimeout={seconds(5)}
TCPTimeout=2
KillWait={seconds(settings.kill_wait_s)}
BatchStartTimeout={seconds(20)}
UnkillableStepTimeout={seconds(20)}
CompleteWait=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={settings.address(CONTROLLER)}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
{nodes}\
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=high Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""


def slurmdbd_conf(folder: Path, settings: Settings) -> str:
    """slurmdbd.conf: accounts go to the database beside it."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={CONTROLLER}
DbdAddr={settings.address(CONTROLLER)}
SlurmUser=root
DebugLevel=info
LogFile={folder}/log/slurmdbd
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StorageUser=root
StorageLoc=accounts
"""


def gres_conf(folder: Path, settings: Settings) -> str:
    """gres.conf: the device files that stand for GPUs."""
    gpus = "".join(f"Name=gpu File={folder}/devices/gpu{number}\n" for number in range(settings.gpus))
    return f"AutoDetect=off\n{gpus}"


def hosts(settings: Settings, machine: str = CONTROLLER) -> str:
    """/etc/hosts, as a machine of the cluster sees it."""
    names = [CONTROLLER, *settings.names]
    if settings.local_names and machine != CONTROLLER:
        return f"127.0.0.1 localhost\n127.0.1.1 {machine}\n{settings.address(CONTROLLER)} {CONTROLLER}\n"
    return "127.0.0.1 localhost\n" + "".join(f"{settings.address(name)} {name}\n" for name in names)
