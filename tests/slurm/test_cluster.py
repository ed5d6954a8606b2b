"""The cluster itself: what the other tests take for granted of a Slurm."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm import configuration
from slurm.cluster import Cluster, ClusterError
from slurm.configuration import Settings
from slurm.job import accounts, fields, lines, state, submit, until
from slurm.machine import Machine

pytestmark = pytest.mark.xdist_group("slurm commands")
ALL = ["--nodes=4", "--exclusive"]
KINDS = ("net", "uts", "mnt", "pid")  # of namespaces

# A task that writes down how often its job was restarted, and its signals. It ends in its second run.
TASK = """
say() {{ echo "$1" >>{log}; }}
for name in TERM USR2; do trap "say $name" $name; done
say "run ${{SLURM_RESTART_COUNT:-0}} on $(hostname)"
[ -n "$SLURM_RESTART_COUNT" ] && exit 0
while :; do sleep 0.1; done
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def task(tmp_path: Path, log: Path) -> str:
    """What runs TASK under srun."""
    script = tmp_path / "task.sh"
    script.write_text(TASK.format(log=log))
    return f"srun --nodes=1 --ntasks=1 --output=/dev/null sh {script}"


def namespaces(pid: int | str) -> set[str]:
    """Those of a process; none if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in KINDS}
    return set()


@contextlib.contextmanager
def held(pids: Collection[int | str]) -> Iterator[set[str]]:
    """The namespaces of processes, but not this one's own; held open, so that no other gets their numbers."""
    with contextlib.ExitStack() as opened:
        for pid in pids:
            for kind in KINDS:
                opened.enter_context(Path(f"/proc/{pid}/ns/{kind}").open("rb"))
        yield set().union(*map(namespaces, pids)) - namespaces("self")


def inhabited(spaces: set[str]) -> list[str]:
    """The processes in any of these namespaces."""
    ids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in ids if namespaces(pid) & spaces]


def links() -> str:
    words = ["ip", "-brief", "link"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def assert_nothing_left(spaces: set[str], folder: Path) -> None:
    assert inhabited(spaces) == []
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert not {"br0", "v-n1"} & set(links().replace("@", " ").split())
    assert not list(Path("/dev/shm").glob("*faketime*"))


def nap_s(cluster: Cluster) -> int:
    """How long the job named `nap` has run, by Slurm's clock."""
    words = ["--noheader", "--parsable2", "--allocations", "--name=nap", "--format=ElapsedRaw,State"]
    seconds, _, ended = cluster.run("sacct", *words).strip().partition("|")
    return int(seconds) if ended == "COMPLETED" else 0


def test_every_node_is_a_machine_of_its_own(cluster: Cluster) -> None:
    said = cluster.run("srun", "--nodes=4", "hostname")
    assert sorted(said.split()) == ["n1", "n2", "n3", "n4"]
    networks = cluster.run("srun", "--nodes=4", "readlink", "/proc/self/ns/net").split()
    assert len(set(networks)) == 4


def test_nodes_reach_each_other_by_name(cluster: Cluster) -> None:
    serve = "import socket; s = socket.create_server(('', 5000)); s.accept()[0].sendall(b'here')"
    ask = (
        "import socket, time\n"
        "for _ in range(100):\n"
        "    try: print(socket.create_connection(('n1', 5000)).recv(9)); break\n"
        "    except OSError: time.sleep(0.05)\n"
    )
    server = subprocess.Popen(
        ["srun", "--nodelist=n1", sys.executable, "-c", serve], env=cluster.environment, text=True
    )
    assert cluster.run("srun", "--nodelist=n2", sys.executable, "-c", ask) == "b'here'\n"
    assert server.wait() == 0


def test_accounts_know_how_a_job_ended(cluster: Cluster) -> None:
    job = submit(cluster, "exit 3")
    until(lambda: accounts(cluster, job) == ["FAILED"])
    assert fields(cluster, job)["ExitCode"] == "3:0"


def test_gpus_are_handed_out(cluster: Cluster) -> None:
    said = cluster.run("srun", "--gpus-per-node=2", "env")
    assert "CUDA_VISIBLE_DEVICES=0,1\n" in said
    assert "SLURM_GPUS_ON_NODE=2\n" in said
    assert "CUDA_VISIBLE_DEVICES=0\n" in cluster.run("srun", "--gpus-per-node=1", "env")


def test_a_preempted_job_gets_term_and_starts_again(cluster: Cluster, task: str, log: Path) -> None:
    job = submit(cluster, task, *ALL, "--requeue", "--signal=USR2@60")
    until(lambda: len(lines(log)) == 1)
    first = submit(cluster, "true", *ALL, "--partition=high")
    until(lambda: "TERM" in lines(log))
    until(lambda: state(cluster, job) == "COMPLETED")
    assert "USR2" not in lines(log)
    assert lines(log)[-1].startswith("run 1 on ")
    assert fields(cluster, job)["Restarts"] == "1"
    until(lambda: accounts(cluster, job) == ["PREEMPTED", "COMPLETED"])
    assert state(cluster, first) == "COMPLETED"


def test_a_job_survives_the_end_of_its_node(cluster: Cluster, task: str, log: Path) -> None:
    job = submit(cluster, task, "--requeue")
    until(lambda: lines(log))
    node = lines(log)[0].split()[-1]
    with held([cluster.machines[node].pid]) as spaces:
        cluster.power_off(node)
        assert inhabited(spaces - namespaces(cluster.machines["ctl"].pid)) == []
    until(lambda: state(cluster, job) == "COMPLETED")
    assert lines(log)[-1].split()[-1] != node
    until(lambda: accounts(cluster, job) == ["NODE_FAIL", "COMPLETED"])
    cluster.start_node(node)
    cluster.wait_idle()


def test_a_node_cut_off_knows_nothing_of_it(cluster: Cluster, tmp_path: Path) -> None:
    script = f"f={tmp_path}/${{SLURM_RESTART_COUNT:-0}}; hostname >$f; while sleep 0.1; do echo . >>$f; done"
    job = submit(cluster, script, "--requeue")
    first, second = tmp_path / "0", tmp_path / "1"
    until(lambda: lines(first))
    node = lines(first)[0]
    cluster.cut(node)
    until(lambda: lines(second))
    assert lines(second)[0] != node
    before = len(lines(first))
    until(lambda: len(lines(first)) > before)  # two attempts at once
    cluster.restore(node)
    cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    cluster.wait_idle(node)
    after = len(lines(first))
    cluster.run("scancel", job)
    until(lambda: state(cluster, job) == "CANCELLED")
    cluster.wait_idle()
    assert len(lines(first)) == after


def test_tasks_outlive_a_killed_slurmd(cluster: Cluster, log: Path) -> None:
    job = submit(cluster, f"hostname >>{log}; sleep 2; echo still >>{log}")
    until(lambda: lines(log))
    node = lines(log)[0]
    cluster.kill_slurmd(node)
    until(lambda: lines(log)[1:] == ["still"])
    cluster.start_slurmd(node)
    until(lambda: state(cluster, job) == "COMPLETED")
    cluster.wait_idle()


def test_a_time_limit_is_announced(cluster: Cluster, task: str, log: Path) -> None:
    job = submit(cluster, task, "--time=1", "--signal=USR2@20")
    until(lambda: state(cluster, job) == "TIMEOUT")
    assert lines(log)[1:3] == ["USR2", "TERM"]


def test_a_clock_ten_times_as_fast_is_for_daemons_alone(cluster: Cluster) -> None:
    seen = cluster.run("srun", "--job-name=nap", "sh", "-c", "date +%s; sleep 2; date +%s").split()
    begin, end = map(int, seen)
    assert end - begin in {2, 3}
    assert abs(end - time.time()) < 10
    until(lambda: nap_s(cluster) >= 20)


@pytest.mark.usefixtures("slurm_here")
def test_the_real_clock() -> None:
    with Cluster(Settings(nodes=1)) as real:
        real.run("srun", "--job-name=nap", "sleep", "2")
        until(lambda: nap_s(real) in {2, 3})


@pytest.mark.usefixtures("slurm_here")
def test_the_jobs_own_signal_can_come_first(task: str, log: Path) -> None:
    with Cluster(Settings(nodes=1, speed=10, user_signal=True, grace_s=2)) as polite:
        job = submit(polite, task, "--exclusive", "--requeue", "--signal=USR2@60")
        until(lambda: lines(log))
        submit(polite, "true", "--exclusive", "--partition=high")
        until(lambda: state(polite, job) == "COMPLETED")
    assert lines(log)[:3] == ["run 0 on n1", "USR2", "TERM"]
    assert lines(log)[-1] == "run 1 on n1"


@pytest.mark.usefixtures("slurm_here")
def test_down_leaves_nothing() -> None:
    before = links()
    with contextlib.ExitStack() as left:
        with Cluster(Settings(nodes=1, speed=10)) as cluster:
            folder = cluster.folder
            spaces = left.enter_context(held([machine.pid for machine in cluster.machines.values()]))
            submit(cluster, "sleep 1000")
            assert len(inhabited(spaces)) > 10
            assert links() == before
        assert_nothing_left(spaces, folder)
    assert not folder.exists()


@pytest.mark.usefixtures("slurm_here")
def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = Machine.boot, []

    def boot(*words: Any, **options: Any) -> Machine:
        seen.append(real(*words, **options))
        return seen[-1]

    monkeypatch.setattr(Machine, "boot", boot)
    monkeypatch.setattr(configuration, "slurmdbd_conf", lambda *_: "Nonsense=1\n")
    broken = Cluster(Settings(nodes=1))
    with pytest.raises(ClusterError, match=r"no start of slurmdbd \(slurmdbd has ended\)(.|\n)*Nonsense"):
        broken.__enter__()
    assert broken.workspace is None
    assert all(machine.process.poll() is not None for machine in seen)


@pytest.mark.usefixtures("slurm_here")
def test_a_killed_owner_leaves_a_folder_that_the_next_one_removes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("own")  # where no other test raises a cluster, which would remove it
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    raise_one = (
        "from slurm.cluster import Cluster, Settings\n"
        "with Cluster(Settings(nodes=1)) as cluster:\n"
        "    print(cluster.folder, *(machine.pid for machine in cluster.machines.values()), flush=True)\n"
        "    input()\n"
    )
    path = str(Path(__file__).parents[1])
    owner = subprocess.Popen(
        [sys.executable, "-c", raise_one],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(here)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        name, *pids = owner.stdout.readline().split()
        with held(pids) as spaces:
            os.kill(owner.pid, signal.SIGKILL)
            until(lambda: not inhabited(spaces), timeout_s=5)
            assert Path(name).exists()
            with Cluster(Settings(nodes=1)):
                assert not Path(name).exists()
            assert_nothing_left(spaces, Path(name))
