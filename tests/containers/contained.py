"""An image, nothing in it of the host but what is named; a stand-in for apptainer, and the real one.

It has a Python with the project's dependencies where here is one without, a shell and three commands.
It has no Slurm, no munge, no home folder, and none of the project's own files. Like the real runtime's, the
stand-in's process lives on beside the one inside; it passes no signal on. No variable gets in.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

COMMANDS = ("sh", "env", "mv", "cat")
BASE = Path(sys.base_prefix)  # of the Python inside
WORDS = "root.words"  # of an image: what bubblewrap is told
REAL = Path("/opt/dnw-apptainer/usr/bin")  # `python tests/containers/apptainer.py` brings it
NO_APPTAINER = pytest.mark.skipif(
    not REAL.exists(), reason="python tests/containers/apptainer.py was not run"
)
RUN = """\
#!/bin/sh
[ "$1" = exec ] || exit 2
shift
binds=
while :; do
    case $1 in
    --nv) shift ;;
    --bind) binds="$binds --bind $2 $2" && shift 2 ;;
    --pwd) directory=$2 && shift 2 ;;
    *) break ;;
    esac
done
image=$1
shift
[ -e "$image/{words}" ] || { echo "FATAL:   could not open image $image" >&2; exit 255; }
trap '' TERM INT HUP USR1 USR2
exec env -i PATH={python}/bin:/usr/bin HOME=/ \\
    /usr/bin/bwrap $(cat "$image/{words}") $binds --chdir "$directory" -- "$@"
"""


def contents(packages: bool = True) -> dict[Path, Path]:
    """What an image shows, with the project's dependencies or not: paths inside, and what lies there."""
    libraries = [path for path in map(Path, ("/usr/lib", "/lib64")) if path.exists()]
    shown = [*libraries, *(Path("/usr/bin", name) for name in COMMANDS), Path("/etc/ld.so.cache"), BASE]
    found = {path: path.resolve() for path in shown}
    if packages:
        there = importlib.util.find_spec("torch")
        assert there is not None
        assert there.origin is not None
        site = BASE / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        found[site] = Path(there.origin).parents[1]
    return found


def image(folder: Path, packages: bool = True) -> Path:
    """Make an image in a folder that isn't there yet; its path."""
    words = [
        "--tmpfs /",
        "--dev-bind /dev /dev",
        "--proc /proc",
        "--symlink usr/lib /lib",
        "--symlink usr/bin /bin",
        *(f"--ro-bind {there} {inside}" for inside, there in contents(packages).items()),
    ]
    folder.mkdir(parents=True)
    for name in ("dev", "proc", "sys", "tmp", "var/tmp", "etc", "usr/lib", "usr/bin"):
        (folder / name).mkdir(parents=True)
    for name in ("lib", "bin"):
        (folder / name).symlink_to(f"usr/{name}")
    (folder / WORDS).write_text("\n".join(words) + "\n")
    return folder


def told(packages: bool = True) -> dict[str, str]:
    """Variables by which the real runtime shows the same in an image."""
    binds = (f"{there}:{inside}:ro" for inside, there in contents(packages).items())
    return {"APPTAINER_BIND": ",".join(binds), "APPTAINERENV_PREPEND_PATH": f"{BASE}/bin"}


def runtime(folder: Path) -> Path:
    """Write the command `apptainer` into a folder that is made for it; the folder."""
    folder.mkdir(parents=True)
    command = RUN.replace("{python}", str(BASE)).replace("{words}", WORDS)
    (folder / "apptainer").write_text(command)
    (folder / "apptainer").chmod(0o755)
    return folder
