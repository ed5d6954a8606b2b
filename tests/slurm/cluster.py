"""A real Slurm cluster on one machine: its own daemons, accounts, nodes, network; nothing outside is touched.

    with Cluster(Settings(nodes=4)) as cluster:
        cluster.run("srun", "-N4", "hostname")
        cluster.power_off("n2")

It needs root, and the packages of packages.py. `python tests/slurm` raises one to play with.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm import client, configuration
from slurm.configuration import CLUSTER, CONTROLLER, Settings
from slurm.machine import Machine
from slurm.workspace import Workspace

START_S = 60  # what a daemon gets to start in, on a machine that has other things to do as well
MUNGE_FILES = ("key-file", "socket", "pid-file", "log-file", "seed-file")
FAKETIME = "lib*/**/faketime/libfaketime.so.1"

# /run: named network namespaces are kept there. /dev/shm: so is the daemons' clock.
CONTROLLER_SETUP = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
ip link add br0 type bridge
ip addr add {address}/24 dev br0
ip link set br0 up
"""
PLUG_IN = """
ip netns add {name}
ip link add v-{name} type veth peer name eth0 netns {name}
ip link set v-{name} master br0 up
ip -n {name} link set lo up
ip -n {name} addr add {address}/24 dev eth0
ip -n {name} link set eth0 up
"""
PULL_OUT = """
ip link del v-{name}
ip netns del {name}
"""


class ClusterError(RuntimeError):
    """A cluster that doesn't come up; the message says what it was waiting for, and shows a log."""


@dataclass
class Cluster:
    """A cluster: up between `__enter__` and `__exit__`."""

    settings: Settings = field(default_factory=Settings)
    machines: dict[str, Machine] = field(default_factory=dict)
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    clock: dict[str, str] = field(default_factory=dict)  # variables that make a program see the daemons' time
    workspace: Workspace | None = None

    @property
    def folder(self) -> Path:
        """All files of this cluster."""
        assert self.workspace is not None, "the cluster is down"
        return self.workspace.folder

    @property
    def conf(self) -> Path:
        """slurm.conf."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of whoever is logged in: commands like sbatch are those of this cluster."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        return {**own, "PATH": f"{self.folder}/bin{os.pathsep}{own['PATH']}"}

    def run(self, *command: str, timeout_s: float = 60) -> str:
        """What a command prints, typed on the login node.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            command, env=self.environment, text=True, capture_output=True, check=False, timeout=timeout_s
        )
        if done.returncode != 0:
            error = subprocess.CalledProcessError(done.returncode, command)
            error.add_note(done.stdout + done.stderr)
            raise error
        return done.stdout

    def __enter__(self) -> Self:
        """Raise the cluster; all nodes are idle when this returns."""
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """End it, whatever is up of it: the machine that all others are inside of goes off."""
        if CONTROLLER in self.machines:
            self.machines[CONTROLLER].power_off()
        for machine in self.machines.values():
            machine.process.wait()
        for daemon in self.daemons.values():
            daemon.wait()
        self.machines.clear()
        self.daemons.clear()
        self.clock.clear()
        if self.workspace is not None:
            self.workspace.remove()
            self.workspace = None

    # ---- what can happen to a node

    def start_node(self, name: str) -> None:
        """Switch a node on; `wait_idle` waits until Slurm has noticed."""
        self._controller.run(PLUG_IN.format(name=name, address=self.settings.address(name)))
        network = Path(f"/proc/{self._controller.pid}/root/run/netns/{name}")
        hosts = self.name_hosts(name)
        setup = "mount -t proc proc /proc"
        self.machines[name] = Machine.boot(name, hosts, setup, network=network, inside=self._controller)
        self.start_slurmd(name)

    def name_hosts(self, name: str, local_names: bool | None = None) -> Path:
        """Write what a node takes the names of hosts for; whether its own leads home, by default as set."""
        hosts = self.folder / f"hosts-{name}"  # the same file: it is mounted
        is_local = self.settings.local_names if local_names is None else local_names
        settings = dataclasses.replace(self.settings, local_names=is_local)
        hosts.write_text(configuration.hosts(settings, name))
        return hosts

    def power_off(self, name: str) -> None:
        """Cut the power of a node: others hear nothing more of it, not even that connections are closed."""
        self._controller.run(f"ip link set v-{name} down")
        self.machines[name].power_off()
        if slurmd := self.daemons.pop(f"slurmd-{name}", None):
            slurmd.wait()
        self._controller.run(PULL_OUT.format(name=name))

    def cut(self, name: str) -> None:
        """Pull the network cable of a node, which runs on."""
        self._controller.run(f"ip link set v-{name} down")

    def restore(self, name: str) -> None:
        """Plug that cable in again. Slurm looks for a lost node twice a minute, or when told to resume it."""
        self._controller.run(f"ip link set v-{name} up")

    def start_slurmd(self, name: str) -> None:
        """Start Slurm's daemon of a node that is on."""
        self._daemon("slurmd", "-D", "-N", name, "-f", str(self.conf), on=name, clock=self.clock)

    def kill_slurmd(self, name: str) -> None:
        """Kill it; the tasks that it has started live on."""
        pid = (self.folder / f"slurmd-{name}.pid").read_text().strip()
        self.machines[name].run(f"kill -KILL {pid}")
        self.daemons.pop(f"slurmd-{name}").wait()

    def stop_controller(self) -> None:
        """End the controller; jobs and nodes know nothing of it, and nobody gets an answer."""
        pid = (self.folder / "slurmctld.pid").read_text().strip()
        self._controller.run(f"kill -TERM {pid}")
        self.daemons.pop("slurmctld").wait()

    def start_controller(self) -> None:
        """Start it with what it knew."""
        self._daemon("slurmctld", "-D", "-i", "-f", str(self.conf), clock=self.clock)
        self._until(self._can_be_asked, "answer of the controller", "slurmctld")

    def wait_idle(self, *names: str, timeout_s: float = START_S) -> None:
        """Wait until Slurm would give these nodes to a job; without names, all of them."""
        wanted = names or self.settings.names

        def idle() -> bool:
            words = ["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"]
            return self.run(*words, f"--nodes={','.join(wanted)}").split() == ["idle"] * len(wanted)

        self._until(idle, f"idle nodes {' '.join(wanted)}", "slurmctld", timeout_s)

    # ---- how it comes up

    @property
    def _controller(self) -> Machine:
        return self.machines[CONTROLLER]

    def _up(self) -> None:
        self.workspace = Workspace.make()
        self._write_files()
        setup = CONTROLLER_SETUP.format(address=self.settings.address(CONTROLLER))
        self.machines[CONTROLLER] = Machine.boot(CONTROLLER, self.folder / "hosts", setup)
        if self.settings.speed != 1:
            self._start_clock()
        client.write(self.folder / "bin", self.conf, CLUSTER, self._controller, self.clock)
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for name in self.settings.names:
            self.start_node(name)
        self.wait_idle()

    def _write_files(self) -> None:
        for name in ("munge", "database", "temporary", "state", "spool", "log", "devices"):
            (self.folder / name).mkdir()
        for name, text in (
            ("slurm.conf", configuration.slurm_conf),
            ("slurmdbd.conf", configuration.slurmdbd_conf),
            ("gres.conf", configuration.gres_conf),
        ):
            (self.folder / name).write_text(text(self.folder, self.settings))
        (self.folder / "slurmdbd.conf").chmod(0o600)
        (self.folder / "hosts").write_text(configuration.hosts(self.settings))
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        for number in range(self.settings.gpus):  # each is a /dev/null of its own
            os.mknod(self.folder / "devices" / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    def _start_clock(self) -> None:
        """One clock for all daemons, which exists as long as the process that was started first."""
        shared = self.folder / "clock"
        hold = f'echo "$FAKETIME_SHARED" >{shared}.new; mv {shared}.new {shared}; sleep infinity'
        rate = f"+0 x{self.settings.speed}"
        self._daemon("faketime", "-f", rate, "sh", "-c", hold)
        self._until(shared.exists, "clock", "faketime")
        library = next(Path("/usr").glob(FAKETIME))
        self.clock |= {
            "LD_PRELOAD": str(library),
            "FAKETIME": rate,
            "FAKETIME_SHARED": shared.read_text().strip(),
        }

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        files = {option: folder / option.removesuffix("-file") for option in MUNGE_FILES}
        options = [f"--{option}={path}" for option, path in files.items()]
        self._daemon("munged", "--foreground", "--force", *options)
        self._until((folder / "socket").exists, "socket of munged", "munged")

    def _start_accounting(self) -> None:
        # in a folder for temporary tables that it shares, a server that starts removes those of the others
        folders = [f"--datadir={self.folder}/database", f"--tmpdir={self.folder}/temporary"]
        options = ["--no-defaults", "--user=root", *folders]
        socket_path = self.folder / "database.socket"
        with (self.folder / "log" / "mariadb-install-db").open("ab") as output:
            words = ["mariadb-install-db", *options, "--skip-test-db", "--skip-name-resolve"]
            made = subprocess.run(words, check=False, stdout=output, stderr=output)
        if made.returncode != 0:
            said = self._said_by("mariadb-install-db")
            raise ClusterError(f"no database (exit code {made.returncode}), whose set-up said:\n{said}")
        self._daemon(
            *["mariadbd", *options, f"--socket={socket_path}"],
            *["--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-log-bin", "--performance-schema=0"],
            *["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"],
            *["--innodb-doublewrite=0", "--innodb-lock-wait-timeout=900"],
        )
        self._until(lambda: _answers(socket_path), "answer from the database", "mariadbd")
        self._daemon("slurmdbd", "-D", clock=self.clock)
        self._until(lambda: "slurmdbd version" in self._said_by("slurmdbd"), "start of slurmdbd", "slurmdbd")

    def _can_be_asked(self) -> bool:
        words = [f"{self.folder}/bin/sinfo", "--noheader"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def _daemon(self, *words: str, on: str = CONTROLLER, clock: dict[str, str] | None = None) -> None:
        name = words[0] if on == CONTROLLER else f"{words[0]}-{on}"
        environment = {"SLURM_CONF": str(self.conf), **(clock or {})}
        self.daemons[name] = self.machines[on].start(words, self.folder / "log" / f"{name}.out", environment)

    def _said_by(self, daemon: str) -> str:
        """What a daemon printed and, where it has a log of its own, wrote there."""
        files = [self.folder / "log" / name for name in (f"{daemon}.out", daemon)]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def _until(self, reached: Callable[[], bool], what: str, daemon: str, timeout_s: float = START_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            ended = self.daemons[daemon].poll() is not None
            if ended or time.monotonic() > deadline:
                how = f"{daemon} has ended" if ended else f"after {timeout_s:.0f} s"
                tail = "\n".join(self._said_by(daemon).splitlines()[-15:])
                raise ClusterError(f"no {what} ({how}), which said:\n{tail}")
            time.sleep(0.1)  # asking costs a process


def _answers(path: Path) -> bool:
    """Whether a server listens on a socket file."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0
