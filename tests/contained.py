"""A stand-in for apptainer, and an image for it: a root in which nothing is of the host but what is named.

The image has a Python with the project's dependencies where here is one without, a shell and three commands.
It has no Slurm, no munge, no home folder, and none of the project's own files. Like the real runtime's, the
process that was started lives on beside the one inside; it passes no signal on. No variable gets in.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

COMMANDS = ("sh", "env", "mv", "cat")
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
[ -e "$image/root" ] || { echo "FATAL:   could not open image $image" >&2; exit 255; }
trap '' TERM INT HUP USR1 USR2
exec env -i PATH={bin}:/usr/bin HOME=/ \\
    /usr/bin/bwrap $(cat "$image/root") $binds --chdir "$directory" -- "$@"
"""


def image(folder: Path, packages: bool = True) -> Path:
    """Make an image in a folder that isn't there yet, with the project's dependencies or not; its path."""
    base = Path(sys.base_prefix)
    libraries = [path for path in map(Path, ("/usr/lib", "/lib64")) if path.exists()]
    bound = [*libraries, *(Path("/usr/bin", name) for name in COMMANDS), Path("/etc/ld.so.cache")]
    words = [
        "--tmpfs /",
        "--dev-bind /dev /dev",
        "--proc /proc",
        "--symlink usr/lib /lib",
        "--symlink usr/bin /bin",
    ]
    words += [f"--ro-bind {path.resolve()} {path}" for path in (*bound, base)]
    if packages:
        there = importlib.util.find_spec("torch")
        assert there is not None
        assert there.origin is not None
        site = base / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        words.append(f"--ro-bind {Path(there.origin).parents[1]} {site}")
    folder.mkdir(parents=True)
    (folder / "root").write_text("\n".join(words) + "\n")
    return folder


def runtime(folder: Path) -> Path:
    """Write the command `apptainer` into a folder that is made for it; the folder."""
    folder.mkdir(parents=True)
    (folder / "apptainer").write_text(RUN.replace("{bin}", f"{sys.base_prefix}/bin"))
    (folder / "apptainer").chmod(0o755)
    return folder
