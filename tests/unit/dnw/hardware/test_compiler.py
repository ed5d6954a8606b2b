"""Training without torch's compiler, and with it all the same where somebody asks for it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
TRAIN = """
import sys, torch
from dnw.hardware import compiler
if sys.argv[1] == "without":
    compiler.leave_out()
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=0, world_size=1)
torch.manual_seed(0)
network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(5, 3))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
for _ in range(3):
    network(torch.ones(4, 5)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
torch.distributed.destroy_process_group()
print(torch.nn.utils.parameters_to_vector(network.parameters()).tolist())
print([hasattr(module, "__file__") for name, module in sys.modules.items() if name == "torch._dynamo"])
from dnw.models.torchvision_cpu import torchvision
torchvision()
print(any(name.startswith("torch._dynamo.e") for name in sys.modules))  # such as eval_frame
from torch._dynamo.utils import is_compile_supported
print(is_compile_supported("cpu"))
import torch._dynamo.config
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
"""


def printed(how: str, meeting: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAIN, how, str(meeting)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_is_left_out_until_it_is_asked_for(tmp_path: Path) -> None:
    weights, *without = printed("without", tmp_path / "a")
    assert without == ["[False]", "False", "True", "2.0"]
    same, *beside = printed("with", tmp_path / "b")
    assert beside == ["[True]", "True", "True", "2.0"]
    assert weights == same
