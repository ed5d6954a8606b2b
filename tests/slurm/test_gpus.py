"""GPUs of a real Slurm: device files that it hands out, and nothing behind them, so that workers refuse."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.job import fields, until

pytestmark = pytest.mark.xdist_group("slurm commands")
ROOT = Path(__file__).resolve().parents[2]
ANSWERED_WITHIN_S = 60  # on two cores that may be busy
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(cluster: Cluster, few_images: Path, tmp_path: Path) -> Iterator[Typed]:
    """Types `launch/slurm.py` with more words."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        images = [f"data.dir={few_images}", "data.classes=10", "data.image_size=32", "data.workers=1"]
        return subprocess.run(
            [sys.executable, str(ROOT / "launch" / "slurm.py"), *images, *words],
            cwd=tmp_path,
            env={**cluster.environment, **environment},
            capture_output=True,
            text=True,
            timeout=ANSWERED_WITHIN_S,
            check=False,
        )

    yield run
    for name in ("imagenet_dnw", "demo_dnw"):
        cluster.run("scancel", f"--name=dnw-{name}")
    cluster.wait_idle()


LATER = "cluster.additional_parameters={begin: now+9days}"  # so that it waits


def test_the_nodes_gpus_are_asked_for(cluster: Cluster, typed: Typed) -> None:
    done = typed("+exp=imagenet_dnw", "nodes=2", LATER)
    assert done.returncode == 0, done.stderr
    chosen = (
        "note    cluster.gpus_per_node=2, processes on each node: 2; nodes of partition low have 4 nodes 2"
    )
    assert chosen in done.stdout
    job = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("job "))
    assert fields(cluster, job)["TresPerNode"] == "gres:gpu:2"


@pytest.mark.parametrize(
    ("words", "environment", "processes"),
    [
        (["cluster.additional_parameters={gres: gpu:2}"], {}, 2),
        ([], {"SBATCH_GPUS": "2"}, 2),
        (["nodes=2", "cluster.additional_parameters={gpus: 3}"], {}, 3),  # two of one node, one of the other
    ],
)
def test_each_process_has_a_gpu(
    typed: Typed, tmp_path: Path, words: list[str], environment: dict[str, str], processes: int
) -> None:
    """Whichever way they were asked for, and where only the job can count them, too."""
    done = typed("+exp=demo_dnw", "batch=64", "micro_batch=4", "steps=1", *words, **environment)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/demo_dnw/*")
    run = Run(folder)
    until(lambda: (last := ledger.last(run)) is not None and last.end is not None, timeout_s=120)
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert last.reason == "error"
    refused = re.findall(r"ranks? ([\d, ]+): (\d) GPUs a node were asked for", last.end["detail"])
    assert sum(len(ranks.split(", ")) for ranks, _ in refused) == processes
    assert all(len(ranks.split(", ")) == int(gpus) for ranks, gpus in refused)
    assert json.loads(run.launch.read_text())["job"] == last.job
