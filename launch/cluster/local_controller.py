"""submitit's local controller: the process that stands in for a cluster on this machine.

Left to itself submitit starts it within this session and with this program's output: closing the terminal
could end it, and `python launch/slurm.py ... | tee log` would wait for it. So it is started from a process
that has left the session first.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from launch.cluster.gated import Gated
from launch.config import Cluster
from launch.errors import LaunchError
from launch.gpus import visible_gpus
from launch.node.job import Job
from launch.self_test.series import Series


def start(job: Job | Series | Gated, code: Path, cluster: Cluster, folder: Path) -> str:
    """Start a job that lives on when this terminal is closed.

    Args:
        job: what to run.
        code: the frozen code that it imports.
        cluster: its time limit and GPUs.
        folder: an empty one, for submitit's files and for what the controller prints.

    Returns:
        the controller's process id, which is the job's id. SIGTERM stops the job.

    Raises:
        LaunchError: this machine does not have what the job asks for.
    """
    return _detached(lambda: _submit(job, code, cluster, folder), folder / "controller.log")


def _submit(job: Job | Series | Gated, code: Path, cluster: Cluster, folder: Path) -> str:
    from submitit import LocalExecutor  # noqa: PLC0415  (slow to import)

    searched = filter(None, [str(code), os.environ.get("PYTHONPATH")])
    os.environ |= {"PYTHONPATH": os.pathsep.join(searched), "PYTHONSAFEPATH": "1"}
    executor = LocalExecutor(folder, python=shlex.quote(sys.executable))
    executor.update_parameters(
        timeout_min=cluster.limit_min,
        signal_delay_s=cluster.signal_delay_s,
        tasks_per_node=1,
        **_gpus(cluster, job.nproc),
    )
    return str(executor.submit(job).job_id)


def _gpus(cluster: Cluster, nproc: int) -> dict[str, Any]:
    """Return the GPUs that a job on this machine gets: submitit numbers them itself unless told which."""
    visible = visible_gpus()
    wanted = min(nproc, len(visible)) if cluster.gpus is None else cluster.gpus
    if wanted == 0:
        return {"gpus_per_node": 0}
    if not all(name.isdigit() for name in visible):
        raise LaunchError(f"CUDA_VISIBLE_DEVICES: submitit takes numbers only (got {','.join(visible)})")
    return {"gpus_per_node": wanted, "visible_gpus": [int(name) for name in visible]}


def _detached(start: Callable[[], str], output: Path) -> str:
    """Call `start` in a session of its own, away from this terminal; what it returns."""
    receive, send = os.pipe()  # closed in what `start` starts
    child = os.fork()
    if child == 0:
        _answer_and_exit(start, output, send)
    os.close(send)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    answer = json.loads(text) if text else {"error": "the process that should start it was killed"}
    if "error" in answer:
        raise LaunchError(f"this machine can't run the job: {answer['error']}")
    return str(answer["result"])


def _answer_and_exit(start: Callable[[], str], output: Path, send: int) -> NoReturn:
    answer = {"error": "interrupted"}
    try:
        os.setsid()
        with output.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            for descriptor, file in ((0, nothing), (1, log), (2, log)):
                os.dup2(file.fileno(), descriptor)
        answer = {"result": start()}
    except Exception as error:  # raised again by the process that waits for the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    finally:  # never back into the caller, which is running in the other process too
        os.write(send, json.dumps(answer).encode())
        os._exit(0)
