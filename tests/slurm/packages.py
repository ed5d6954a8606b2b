"""The Debian packages of a Slurm cluster for tests, of what contains a run there, a compiler, and a browser.

python tests/slurm/packages.py      installs what is missing, or says why it can't
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# A package, and a file by which one sees that it is there.
PACKAGES = {
    "slurmctld": "/usr/sbin/slurmctld",
    "slurmd": "/usr/sbin/slurmd",
    "slurmdbd": "/usr/sbin/slurmdbd",
    "slurm-client": "/usr/bin/sbatch",
    "munge": "/usr/sbin/munged",
    "mariadb-server-core": "/usr/sbin/mariadbd",
    "mariadb-client-core": "/usr/bin/my_print_defaults",
    "faketime": "/usr/bin/faketime",
    "iproute2": "/usr/sbin/ip",
    "util-linux": "/usr/bin/unshare",
}
COMPILER = {"g++": "/usr/bin/g++"}  # of the fake CUDA device
BROWSER = {"chromium-headless-shell": "/usr/bin/chromium-headless-shell"}  # Ubuntu has none
CONTAINER = {"bubblewrap": "/usr/bin/bwrap"}  # under the stand-in for apptainer
SERVICES = {"slurmctld", "slurmd", "slurmdbd", "munge"}
POLICY = Path("/usr/sbin/policy-rc.d")  # what a package's scripts ask before they start a service
LOG = Path(tempfile.gettempdir()) / "dnw-packages.log"


def missing(packages: Mapping[str, str] = PACKAGES) -> list[str]:
    """Those that are not installed."""
    return [package for package, file in packages.items() if not Path(file).exists()]


def why_not() -> str | None:
    """Why no cluster can be raised here, as the end of a sentence; None if one can."""
    if os.geteuid() != 0:
        return "that needs root (namespaces, device files)"
    if absent := missing():
        return f"these packages are missing: {' '.join(absent)}"
    probe = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "ip", "link"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "this container may not make namespaces (CAP_SYS_ADMIN)"
    return None


def install(packages: list[str]) -> None:
    """Install packages without starting, now or at the next boot, any service that comes with them.

    Raises:
        subprocess.CalledProcessError: apt-get failed; LOG holds what it said.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with LOG.open("ab") as log, _no_service_starts():
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-q", *words], check=True, env=environment, stdout=log, stderr=log)
        brought = sorted(SERVICES.intersection(packages))
        if brought and shutil.which("systemctl"):
            subprocess.run(["systemctl", "disable", *brought], check=True, stdout=log, stderr=log)


def main() -> int:
    """Install what is missing where that is possible; 0 in any case: tests without their packages skip."""
    _bring(missing(), "the tests on a Slurm cluster")
    _bring(missing(COMPILER), "the tests on a fake GPU")
    _bring(missing(BROWSER), "the tests in a browser")
    _bring(missing(CONTAINER), "the tests in a container")
    if reason := why_not():
        print(f"the tests on a Slurm cluster will be skipped: {reason}")
    if missing(COMPILER):
        print("the tests on a fake GPU will be skipped: g++ is missing")
    if missing(CONTAINER):
        print("the tests in a container will be skipped: bubblewrap is missing")
    if absent := missing(BROWSER):
        print(f"the tests in a browser will be skipped: {absent[0]} is missing")
    return 0


def _bring(absent: list[str], what_for: str) -> None:
    if not (absent and os.geteuid() == 0 and shutil.which("apt-get")):
        return
    print(f"installing for {what_for}: {' '.join(absent)}", flush=True)
    try:
        install(absent)
    except subprocess.CalledProcessError as error:
        print(f"apt-get failed with {error.returncode}; what it said: {LOG}", file=sys.stderr)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    if POLICY.exists():  # a container's own: it starts none already
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


if __name__ == "__main__":
    sys.exit(main())
