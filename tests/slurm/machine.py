"""A machine that is none: host name, network, mounts and processes of its own, on the kernel of this one.

Its processes live in a namespace that ends with its first process, and that ends with the process which
booted it, however this ends. So does whatever was mounted and linked in there: nothing has to be undone.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]
UNSHARE = ["unshare", "--uts", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child"]

# The first process. Where it starts, /proc is still the host's: the number is the one that the host knows.
# `wait` reaps what is orphaned in here.
BOOT = """
read -r pid _ </proc/self/stat
hostname "$1"
mount --bind "$2" /etc/hosts
{setup}
echo "$pid"
exec >/dev/null 2>&1
sleep infinity & wait
"""


class MachineError(RuntimeError):
    """A machine that did not boot; the message holds what the failing command said."""


@dataclass
class Machine:
    """A machine that runs."""

    name: str
    process: subprocess.Popen[str]  # lives as long as the machine
    pid: int  # of its first process, as the host counts

    @classmethod
    def boot(
        cls, name: str, hosts: Path, setup: str, network: Path | None = None, inside: Machine | None = None
    ) -> Machine:
        """Start a machine; it is up when this returns.

        Args:
            name: its host name.
            hosts: what becomes its /etc/hosts.
            setup: shell commands that its first process runs.
            network: a network namespace that was made for it; None makes one.
            inside: the machine whose end ends this one too.

        Raises:
            MachineError: the set-up failed.
        """
        outer = inside.entry("--pid", network=network) if inside else DIE_WITH_PARENT
        own_network = [] if network else ["--net"]
        script = ["sh", "-ec", BOOT.format(setup=setup), "boot", name, str(hosts)]
        process = subprocess.Popen(
            [*outer, *UNSHARE, *own_network, *script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C at a terminal is for whoever booted it
        )
        said, complaint = _first_word(process)
        if not said:
            process.wait()
            raise MachineError(f"{name}: its set-up failed: {complaint.strip()}")
        return cls(name, process, int(said))

    def entry(self, *options: str, network: Path | None = None) -> list[str]:
        """The words before a command that make it run in here: with `--pid` as one of its processes."""
        net = f"--net={network}" if network else "--net"
        return ["nsenter", f"--target={self.pid}", "--uts", "--mount", net, *options, "--"]

    def run(self, script: str) -> None:
        """Run shell commands in here, to the end.

        Raises:
            MachineError: one of them failed.
        """
        words = [*self.entry("--pid"), "sh", "-ec", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MachineError(f"{self.name}: {script!r} failed: {done.stderr.strip()}")

    def start(
        self, words: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a daemon in here, which must stay in the foreground.

        Returned is what waits for it from outside. Kill the daemon, not that: orphaned, it would be left to
        the host's first process, and where that doesn't reap, this machine could never end.
        """
        variables = [f"{name}={value}" for name, value in environment.items()]  # not for nsenter itself
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.entry("--pid"), "env", *variables, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def power_off(self) -> None:
        """End every process in here at once; they are gone when this returns."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait()


def _first_word(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The line that the set-up ends with; without one, why."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as out, process.stderr as err:
        first = out.readline()
        return first, "" if first else err.read()
