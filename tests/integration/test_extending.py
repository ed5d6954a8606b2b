"""docs/extending.md, as it is written there: from a folder outside of this project, killed and resumed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from documents import environment
from worker import ROOT, assert_same_weights

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.training import checkpoint

TEXT = (ROOT / "docs" / "extending.md").read_text()
COMMANDS = re.findall(r"^    (python .*)$", TEXT.partition("## All of it together")[2], re.MULTILINE)
KILLED = "0:step 2::1"  # in the first attempt


def typed(command: str, here: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type a command of the document in another folder than the project's."""
    words = [sys.executable, *shlex.split(command.replace("launch/", f"{ROOT}/launch/"))[1:], *more]
    variables = {"PYTHONPATH": str(ROOT), **variables} if "-m shards" in command else variables
    given = {**environment(), **variables}
    return subprocess.run(words, cwd=here, env=given, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the document, and the images that one of them makes."""
    folder = tmp_path_factory.mktemp("work")
    for path, text in re.findall(r"^```python\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    done = typed(COMMANDS[0], folder)
    assert done.returncode == 0, done.stderr
    assert "stripes: 40 train + 40 val images, 2 classes" in done.stdout
    return folder


def found(folder: Path) -> Run:
    (one,) = folder.glob("demo_dnw/*/result.json")
    return Run(one.parent)


def test_trained_killed_resumed_and_evaluated_though_a_file_was_edited(here: Path) -> None:
    weights = {"body.0.weight": torch.ones(8, 3, 3, 3), "head.weight": torch.ones(5, 8)}
    weights |= {f"body.1.{name}": torch.ones(8) for name in ("weight", "bias", "running_mean", "running_var")}
    torch.save({**weights, "head.bias": torch.zeros(5)}, here / "tiny.pth")
    few = ["data.workers=0", "checkpoint.every_steps=1", "threads=1", "init=tiny.pth"]
    whole = typed(COMMANDS[1], here, *few, "runs_dir=whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    edited = here / "my_lab" / "nets.py"
    text = edited.read_text()
    killed = typed(COMMANDS[1], here, *few, "runs_dir=killed", DNW_FAULT=KILLED)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    one, other = found(here / "whole"), found(here / "killed")
    assert len(ledger.read(other)) == 2
    assert one.folder.name == other.folder.name
    assert_same_weights(other, one)
    assert "head.weight, head.bias drawn anew: 5 classes there, 2 here" in whole.stdout
    begun = checkpoint.read(other.checkpoints / "init.pt").model
    assert torch.equal(begun["body.0.parametrizations.weight.original"], weights["body.0.weight"])
    edited.write_text("raise SystemExit('edited')\n" + text)
    evaluated = typed(f"python -m dnw.evaluate {other.folder}", here, PYTHONPATH=str(ROOT))
    assert "top-1" in evaluated.stdout, evaluated.stderr
    again = typed(COMMANDS[1], here, *few, "runs_dir=whole", "dry_run=true")
    assert one.folder.name not in again.stdout  # another run
    edited.write_text(text.replace("super()", "nothing()"))
    broken = typed(COMMANDS[1], here, *few, "runs_dir=broken", "error_retries=2")
    assert broken.returncode != 0
    assert "my_lab/nets.py, line 6: NameError: name 'nothing' is not defined" in broken.stderr
    assert "Traceback" not in broken.stderr
    (run,) = (here / "broken" / "demo_dnw").iterdir()
    assert [attempt.reason for attempt in ledger.read(Run(run))] == ["error"]
    edited.write_text(text)


def test_the_submit_command_needs_no_torch_for_them(here: Path, tmp_path: Path) -> None:
    """About a second on a machine at rest; what takes time is what it must not import."""
    (tmp_path / "torch.py").write_text("raise SystemExit('imports torch')\n")
    blocked = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(here)])}
    done = typed(COMMANDS[1], tmp_path, f"data.dir={here}/data/stripes", "dry_run=true", **blocked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "user_fingerprint" in done.stdout


STATEFUL = """
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class Stateful(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, stride=2)
        self.second = spectral_norm(nn.Conv2d(8, 8, 3))
        self.head = nn.Linear(8, classes)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("seen", torch.tensor(0))
        self.norm = nn.InstanceNorm2d(8, track_running_stats=True)

    def forward(self, images):
        features = self.norm(self.second(self.body(images).relu())).relu().mean((2, 3))
        if self.training:
            self.seen += 1
            self.mean = 0.5 * self.mean + 0.5 * features.detach().mean(0)
        return self.head(features - self.mean)
"""


def test_buffers_that_change_in_forward(here: Path) -> None:
    """Bits are those of an undisturbed run, and of another number of processes; the average has them, too."""
    (here / "my_lab" / "stateful.py").write_text(STATEFUL)
    words = COMMANDS[1].replace("my_lab.nets.Tiny", "my_lab.stateful.Stateful")
    few = ["data.workers=0", "checkpoint.every_steps=1", "threads=1", "reduce=exact", "optim.ema=0.9"]
    few += ["micro_batch=4"]
    runs = {}
    for name, nproc, fault in [("one", 1, ""), ("two", 2, ""), ("cut", 2, "1:step 2::1")]:
        given = {"DNW_FAULT": fault} if fault else {}
        done = typed(words, here, *few, f"nproc={nproc}", f"runs_dir=stateful_{name}", **given)
        assert done.returncode == 0, done.stdout + done.stderr
        runs[name] = found(here / f"stateful_{name}")
    assert len(ledger.read(runs["cut"])) == 2
    assert_same_weights(runs["cut"], runs["two"])
    assert_same_weights(runs["one"], runs["two"])
    begun, ended = (checkpoint.read(runs["cut"].checkpoints / f"{n}.pt") for n in ("init", "step-00000003"))
    assert int(ended.model["seen"]) == 3
    for name in ("mean", "second.parametrizations.weight.0._u", "norm.running_mean"):
        assert not torch.equal(begun.model[name], ended.model[name])
        assert name in ended.average
    evaluated = typed(f"python -m dnw.evaluate {runs['cut'].folder} weights=ema", here, PYTHONPATH=str(ROOT))
    assert "top-1" in evaluated.stdout, evaluated.stderr
