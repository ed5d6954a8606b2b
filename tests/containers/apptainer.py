"""A real Apptainer for the tests of containers, out of Debian's unstable distribution.

    python tests/containers/apptainer.py      unpacks it into /opt/dnw-apptainer, and leaves the system alone

Debian 12 has none. That of the unstable distribution wants a newer C library, so it gets one beside it, and
its programs are told to take that. It asks for all capabilities of root, of which a container may lack some:
its processes get none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path("/opt/dnw-apptainer")
COMMAND = FOLDER / "usr" / "bin" / "apptainer"
TOOLS = ("patchelf", "squashfs-tools", "uidmap")  # the last two are Apptainer's own
PACKAGES = ("apptainer", "libc6", "libseccomp2", "libsqlite3-0")
LIBRARIES = FOLDER / "usr" / "lib" / "x86_64-linux-gnu"
PROGRAMS = (COMMAND, LIBRARIES / "apptainer" / "bin" / "starter")
SESSIONS = FOLDER / "usr" / "var" / "lib" / "apptainer" / "mnt" / "session"


def main() -> int:
    """Bring it, unless it is there."""
    if not COMMAND.exists():
        _run("apt-get", "-q", "update")
        _run("apt-get", "-q", "install", "--yes", "--no-install-recommends", *TOOLS)
        with tempfile.TemporaryDirectory() as name:
            _download(Path(name))
            for package in Path(name).glob("*.deb"):
                _run("dpkg", "-x", str(package), str(FOLDER))
        _settle()
    print(_run(str(COMMAND), "--version").strip())
    return 0


def _download(folder: Path) -> None:
    """Fetch the packages with lists of their own: apt goes on knowing nothing of another distribution."""
    described = ["--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]
    (mirror, *_) = re.findall(r"^(\S+) Debian$", _run("apt-get", "indextargets", *described), re.MULTILINE)
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb {mirror} sid main\n")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [f"--option={name}={value}" for name, value in settings.items()]
    _run("apt-get", "-q", *options, "update")
    _run("apt-get", "-q", *options, "download", *PACKAGES, cwd=folder)


def _settle() -> None:
    """Have its programs find libraries, settings and folders here."""
    loader = str(LIBRARIES / "ld-linux-x86-64.so.2")
    for program in PROGRAMS:
        _run(
            "patchelf",
            "--set-interpreter",
            loader,
            "--force-rpath",
            "--set-rpath",
            str(LIBRARIES),
            str(program),
        )
    (FOLDER / "etc").rename(FOLDER / "usr" / "etc")
    SESSIONS.mkdir(parents=True)
    for name in ("etc", "var"):  # the starter takes its own prefix for one deeper
        (FOLDER / "usr" / "lib" / name).symlink_to(f"../{name}")
    settings = FOLDER / "usr" / "etc" / "apptainer" / "apptainer.conf"
    text = settings.read_text()
    settings.write_text(re.sub(r"^(root default capabilities) = .*", r"\1 = no", text, flags=re.MULTILINE))


def _run(*words: str, cwd: Path | None = None) -> str:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout


if __name__ == "__main__":
    sys.exit(main())
