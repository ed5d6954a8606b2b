"""A worker kept on the processors beside its GPU, in a machine where memory is nearer to some than to others.

What a process touches first lies in the memory of the processor it runs on. So binding to processors binds
memory, too: page-locked batches and the shared memory of loading processes come to lie on the GPU's side.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

SYSFS = Path("/sys")


def bind(device: torch.device, each: int) -> None:
    """Keep this process, with the threads and processes that it starts from now on, beside its GPU.

    Does nothing on a CPU, and where `processors_beside` finds none.

    Args:
        device: the GPU, numbered as the ranks of this node are.
        each: processors that a rank of this node needs.
    """
    if device.type != "cuda":
        return
    addresses = [_address(number) for number in range(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))]
    present = os.sched_getaffinity(0)
    beside = processors_beside(addresses, device.index, present, each)
    if beside is not None and beside != present:
        os.sched_setaffinity(0, beside)
        log.info("bound to the %d of %d processors that are beside the GPU", len(beside), len(present))


def processors_beside(
    addresses: Sequence[str], own: int, present: Set[int], each: int, sysfs: Path = SYSFS
) -> Set[int] | None:
    """Those of `present` on the NUMA node of a GPU; None where binding to them would help nothing, or harm.

    That is: with a single node, with a GPU of which the system knows no node, and with fewer processors
    there than the ranks with a GPU on that node need together.

    Args:
        addresses: on the PCI bus, of the GPUs of this node's ranks: 0000:3b:00.0.
        own: which of them is this rank's.
        present: the processors that this process may run on; it is never given others.
        each: processors that a rank needs.
        sysfs: where the kernel tells of devices.
    """
    nodes = [_node(address, sysfs) for address in addresses]
    folder = sysfs / "devices/system/node"
    processors = folder / f"node{nodes[own]}" / "cpulist"
    if nodes[own] < 0 or len(list(folder.glob("node[0-9]*"))) < 2 or not processors.exists():
        return None
    beside = present & _numbers(processors.read_text())
    return beside if len(beside) >= each * nodes.count(nodes[own]) else None


def _node(address: str, sysfs: Path) -> int:
    """Return the number of a PCI device's NUMA node; -1 where the system knows none."""
    path = sysfs / "bus/pci/devices" / address / "numa_node"
    return int(path.read_text()) if path.exists() else -1


def _numbers(text: str) -> set[int]:
    """Return the numbers in a list as the kernel writes it: 0-3,8,10-11."""
    spans = [span.partition("-") for span in text.strip().split(",") if span]
    return {number for first, _, last in spans for number in range(int(first), int(last or first) + 1)}


def _address(number: int) -> str:
    """Return a GPU's address on the PCI bus; that of no device where torch doesn't tell it."""
    found: Any = torch.cuda.get_device_properties(number)
    if not hasattr(found, "pci_domain_id"):
        return "unknown"
    return f"{found.pci_domain_id:04x}:{found.pci_bus_id:02x}:{found.pci_device_id:02x}.0"
