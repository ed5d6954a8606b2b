"""Memory that a step has freed is there for the next."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dnw.hardware.memory import room

PROGRAM = """
import resource, sys
from dnw.hardware import memory
if sys.argv[1] == "kept":
    memory.keep_freed()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(100_000_000)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def faults(way: str) -> int:
    """Pages that the kernel had to give, the third time that 100 MB were taken."""
    return int(subprocess.check_output([sys.executable, "-c", PROGRAM, way]))


def test_memory_that_was_freed_is_not_taken_from_the_kernel_again() -> None:
    assert faults("kept") < 0.01 * faults("given back")


@pytest.mark.usefixtures("nan_where_memory_is_new")
def test_what_is_read_before_it_is_written_is_a_number_in_bf16() -> None:
    like = torch.ones(1, dtype=torch.bfloat16)
    assert not room(like, (3, 5)).any()
    assert room(like.float(), (3, 5)).isnan().all()  # costs nothing where nothing reads it
    assert (room(like, (3, 5)).dtype, room(like, (3, 5)).shape) == (torch.bfloat16, (3, 5))
