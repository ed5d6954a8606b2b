"""Compare the kernels of norm and ReLU for a GPU, run by Triton's interpreter, with torch's own on a CPU.

A process of its own, as Triton decides whether to interpret when it is imported.
Prints the cases that differ, and how many cases there were.
"""

import itertools
import os
from collections.abc import Iterator

os.environ["TRITON_INTERPRET"] = "1"

import torch
import torch.nn.functional as F

from dnw.models import norm_gpu

Result = list[torch.Tensor]
MOMENTUM, EPS = 0.3, 1e-5


def by_kernels(x_NC: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, to_NC: torch.Tensor) -> Result:
    """Return what is given, the gradients of the three, and the running statistics."""
    running = [torch.full_like(scale, 0.5), torch.full_like(scale, 2.0)]
    given_NC, mean, deviation = norm_gpu.norm_relu(x_NC, scale, shift, *running, MOMENTUM, EPS)
    gradients = norm_gpu.norm_relu_backward(to_NC, x_NC, scale, shift, mean, deviation)
    return [given_NC, *gradients, *running]


def by_torch(x_NC: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, to_NC: torch.Tensor) -> Result:
    """Return the same, computed in float64."""
    learned = [one.double().requires_grad_() for one in (x_NC, scale, shift)]
    running = [torch.full_like(scale, 0.5).double(), torch.full_like(scale, 2.0).double()]
    x_NC, scale, shift = learned
    given_NC = F.relu(F.batch_norm(x_NC, running[0], running[1], scale, shift, True, MOMENTUM, EPS))
    return [given_NC.detach(), *torch.autograd.grad(given_NC, learned, to_NC.double()), *running]


def cases(draw: torch.Generator) -> Iterator[tuple[str, Result]]:
    """Give maps, scales, shifts and gradients: fewer and more rows and channels than a tile has."""
    sizes = ((5, 1), (64, 8), (65, 9), (300, 13))
    for (rows, channels), dtype in itertools.product(sizes, (torch.float32, torch.bfloat16)):
        for far in (0.0, 1000.0) if dtype == torch.float32 else (0.0,):
            x_NC = far + torch.randn(rows, channels, generator=draw)
            scale, shift = (torch.randn(channels, generator=draw) for _ in range(2))
            to_NC = torch.randn(rows, channels, generator=draw)
            normed_NC = F.batch_norm(
                x_NC.to(dtype).double(), None, None, scale.double(), shift.double(), True
            )
            to_NC[normed_NC.abs() < 1e-2] = 0  # on the border of ReLU either is right
            yield f"{rows} x {channels} {dtype} {far}", [x_NC.to(dtype), scale, shift, to_NC.to(dtype)]


def differs(given: Result) -> bool:
    """Say whether a result is not torch's, or not the same again."""
    found, wanted = by_kernels(*given), by_torch(*given)
    tolerance = 2e-2 if given[0].dtype == torch.bfloat16 else 2e-3 if given[0].mean() > 100 else 2e-5
    for one, other in zip(found, wanted, strict=True):
        if not torch.allclose(one.double(), other, rtol=tolerance, atol=tolerance * float(other.abs().max())):
            return True
    return not all(map(torch.equal, found, by_kernels(*given)))


def keeps_what_is_no_number() -> bool:
    x_NC = torch.randn(64, 4, generator=torch.Generator().manual_seed(2))
    x_NC[3, 1] = torch.nan
    given_NC = by_kernels(x_NC, torch.ones(4), torch.zeros(4), torch.ones(64, 4))[0]
    return bool(given_NC[:, 1].isnan().all()) and bool(given_NC[:, [0, 2, 3]].isfinite().all())


if __name__ == "__main__":
    torch.set_num_threads(1)
    number = 2
    if differs(next(cases(torch.Generator().manual_seed(1)))[1]):
        print("tiles as on a GPU")
    if not keeps_what_is_no_number():
        print("not a number")
    norm_gpu.CHANNELS, norm_gpu.TILE, norm_gpu.PROGRAMS = 8, 128, 2  # several tiles, programs, and groups
    for name, given in cases(torch.Generator().manual_seed(0)):
        number += 1
        if differs(given):
            print(name)
    print(f"{number} cases")
