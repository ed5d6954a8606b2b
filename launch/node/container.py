"""Agent and workers in a container; the job, and Slurm's commands, stay outside it.

The job needs no torch, the image no Slurm. All that the two have in common is a few folders, bound at the
paths that they have outside, and a script in one of them, which the runtime runs inside. It sets what the
launcher sets (an image may overrule variables, and a runtime may be told to drop them), says what the image
lacks, and becomes the agent. By the process id that it leaves, the job signals the agent itself: which
signals a runtime passes on differs.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from launch.errors import LaunchError

if TYPE_CHECKING:
    from dnw.config import Train

PYTHON = "python3"  # of the image
NAMES = {"apptainer": ("apptainer", "singularity"), "pyxis": ("srun",)}  # the first one that is there
NEEDED = ("torch", "numpy", "yaml", "pydantic", "PIL", "simplejpeg", "fsspec", "rich", "tqdm", "tensorboard")
SEPARATORS = ",:"  # of what a runtime is told to bind
OUTSIDE = frozenset({"PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "HOME", "PYTHONHOME"})  # the image has its own
PINNED = ("CUDA_", "NCCL_", "GLOO_", "TORCH", "DNW_", "OMP_")
BINDING = ("SLURM_CPU_BIND", "SLURM_MEM_BIND")  # of the task around, on cores that the step may not get
MARK = "DNW_CONTAINER"  # the variable that tells an agent in what it runs
SCRIPT, PROCESS_ID = "agent.sh", "agent-pid"

INSIDE = """\
{exports}
unset PYTHONHOME
echo $$ >{process_id}.new && mv {process_id}.new {process_id}
if ! command -v {python} >/dev/null; then
    echo {no_python} >&2
    exit 1
fi
{python} -c {check} || exit 1
exec {python} {words}
"""
CHECK = """\
import importlib.util, sys
lacking = [name for name in {needed!r} if importlib.util.find_spec(name) is None]
if sys.version_info < (3, 11):
    sys.exit({image!r} + ": its {python} is older than 3.11: " + sys.version.split()[0])
if lacking:
    sys.exit({image!r} + ": its {python} lacks " + ", ".join(lacking) + "; cluster.python names another one")
"""


@dataclass(frozen=True)
class Container:
    """In what agent and workers run."""

    image: str  # an absolute path, or what the runtime takes for an image
    runtime: str = "apptainer"  # a key of NAMES
    arguments: tuple[str, ...] = ()  # for the runtime, besides its own

    def command(self, script: Path, binds: Sequence[Path], has_gpus: bool) -> list[str]:
        """Return the command that runs a script inside.

        Args:
            script: in one of the folders.
            binds: folders that are there inside, too, under the same paths.
            has_gpus: whether GPUs are to be seen inside.

        Raises:
            LaunchError: this node has no such runtime or image, or a folder has a name that can't be bound.
        """
        names = NAMES[self.runtime]
        found = next((name for name in names if shutil.which(name)), None)
        if found is None:
            raise LaunchError(f"cluster.container: {' or '.join(names)}: not found in PATH on this node")
        if self.image.startswith("/") and not Path(self.image).exists():
            raise LaunchError(f"cluster.container: {self.image}: not there on this node")
        folders = _outermost(binds)
        if odd := next((path for path in folders if set(SEPARATORS) & set(str(path))), None):
            raise LaunchError(
                f"cluster.container: {odd}: a folder or file with , or : in its name can't be bound"
            )
        return self.words(found, script, folders, has_gpus, os.environ.get("SLURMD_NODENAME", ""))

    def words(
        self, runtime: str, script: Path, folders: Sequence[Path], has_gpus: bool, node: str
    ) -> list[str]:
        """Return the same, whatever is here: of bound folders none of which lies in another.

        Args:
            runtime: the program that is there.
            script: in one of the folders.
            folders: to bind, under the same paths.
            has_gpus: whether GPUs are to be seen inside.
            node: what its messages call this node.
        """
        if self.runtime == "pyxis":
            return [runtime, *_pyxis(self.image, folders, node), *self.arguments, "/bin/sh", str(script)]
        gpus = ["--nv"] if has_gpus and "--rocm" not in self.arguments else []
        bound = [word for folder in folders for word in ("--bind", str(folder))]
        words = ["exec", *gpus, *bound, "--pwd", str(script.parent), *self.arguments]
        return [runtime, *words, self.image, "/bin/sh", str(script)]


class Agent(subprocess.Popen[bytes]):
    """An agent that was started."""

    @property
    def has_begun(self) -> bool:
        """Whether it was there at all."""
        return True


class ContainedAgent(Agent):
    """One in a container: the process is the runtime's, signals go to the agent itself."""

    def __init__(self, script: Path, words: Sequence[str], **options: Any) -> None:
        self._script = script
        super().__init__(words, **options)

    @property
    def has_begun(self) -> bool:
        """Whether the runtime has run the script."""
        return self._script.with_name(PROCESS_ID).exists()

    def send_signal(self, sig: int) -> None:
        """Signal the agent; the runtime, too, where there is no agent yet, or it is to be killed."""
        inside = self._inside()
        if inside is not None and self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inside, sig)
        if inside is None or sig == signal.SIGKILL:
            super().send_signal(sig)

    def _inside(self) -> int | None:
        """Return the agent's process id, if it is one here: the runtime may number processes of its own."""
        try:
            number = int(self._script.with_name(PROCESS_ID).read_text())
            words = Path("/proc", str(number), "cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return number if b"launch.node.agent" in words or os.fsencode(self._script) in words else None


def start(
    container: Container | None,
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    code: Path,
    folders: Sequence[Path],
    output: IO[bytes] | None,
    descriptors: Sequence[int] = (),
) -> Agent:
    """Start an agent, in a container if there is one.

    Args:
        container: None starts it here.
        words: its command line.
        environment: its variables, TMPDIR among them: a folder of this attempt alone.
        code: what is to run.
        folders: that it needs besides the temporary ones.
        output: where it prints to; None: where this process does.
        descriptors: that it inherits; how long a container's keeps them open is up to the runtime.

    Raises:
        LaunchError: this node has no such runtime or image, or a folder can't be bound.
        OSError: there is no such Python, or the like.
    """
    options: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "pass_fds": descriptors,
        "start_new_session": True,  # the terminal's Ctrl-C comes to the job alone
    }
    if container is None:
        return Agent(words, env=environment, **options)
    scratch = Path(environment["TMPDIR"])
    named = [environment[name] for name in ("DNW_TMPDIR", "XDG_CACHE_HOME") if environment.get(name)]
    script = write_script(scratch, container.image, words, {**environment, MARK: container.image}, code)
    binds = [*folders, scratch, *map(Path, named)]
    command = container.command(script, binds, has_gpus=environment.get("DNW_GPUS", "0") != "0")
    around = dict(environment)
    if container.runtime == "pyxis":  # srun asks Slurm
        around |= {
            name: value
            for name, value in os.environ.items()
            if name.startswith("SLURM") and not name.startswith(BINDING)
        }
    return ContainedAgent(script, command, env=around, **options)


def write_script(
    folder: Path, image: str, words: Sequence[str], environment: Mapping[str, str], code: Path
) -> Path:
    """Write what is run inside; its path.

    Args:
        folder: a bound one, of this attempt alone.
        image: what to call it where it lacks something.
        words: Python, and what it is to run.
        environment: of the agent.
        code: the only folder that Python is told to search: others hold packages of the system outside.
    """
    outside = {name: os.environ.get(name) for name in environment}
    pinned = {
        name: value
        for name, value in environment.items()
        if name not in OUTSIDE and (value != outside[name] or name.startswith(PINNED))
    }
    pinned |= {"PYTHONPATH": str(code), "PYTHONNOUSERSITE": "1"}  # the user's own packages are in HOME
    python = words[0]
    script = folder / SCRIPT
    script.write_text(
        INSIDE.format(
            exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in pinned.items()),
            process_id=shlex.quote(str(folder / PROCESS_ID)),
            python=shlex.quote(python),
            no_python=shlex.quote(f"{image}: there is no {python} in it; cluster.python names another one"),
            check=shlex.quote(CHECK.format(needed=NEEDED, image=image, python=python)),
            words=shlex.join(words[1:]),
        )
    )
    return script


def outside_paths(train: Train) -> tuple[Path, ...]:
    """Return what a run reads that isn't in its folder: its images, and the weights that it begins with."""
    return (train.data.dir, Path(train.init)) if train.init else (train.data.dir,)


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Those that are there, and lie in no other one; of a link, what it leads to as well."""
    there = dict.fromkeys(
        path for folder in folders if folder.exists() for path in (folder, folder.resolve())
    )
    return [path for path in there if not any(other in path.parents for other in there)]


def _pyxis(image: str, folders: Sequence[Path], node: str) -> list[str]:
    """Return the words of a step on a node, within the one that the job is, with all of its cores.

    srun doesn't take their number from the job (22.05), or refuses two that differ (24.05: a memory per core
    changes SLURM_CPUS_PER_TASK, but not SLURM_TRES_PER_TASK).
    """
    mounts = ",".join(f"{folder}:{folder}" for folder in folders)
    cores = os.environ.get("SLURM_CPUS_PER_TASK")
    return [
        *["--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}", "--kill-on-bad-exit=1"],
        *([f"--cpus-per-task={cores}"] if cores else []),
        *[f"--container-image={image}", f"--container-mounts={mounts}", "--no-container-mount-home"],
    ]
