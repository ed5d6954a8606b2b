"""Memory that a step has freed is there for the next."""

from __future__ import annotations

import subprocess
import sys

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
