"""What every process computes with."""

from __future__ import annotations

import platform
import socket
from pathlib import Path

import torch

from dnw.self_test.measure import Measured, Setup
from dnw.training import machine

DRIVER = Path("/proc/driver/nvidia/version")


def measure(setup: Setup) -> Measured:
    """Return this process's device, host and versions."""
    device = setup.world.device
    is_gpu = device.type == "cuda"
    facts = {
        "host": socket.gethostname(),
        "device": device.type,
        "gpus": torch.cuda.device_count() if is_gpu else 0,
        "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1) if is_gpu else 0.0,
        "versions": {
            "python": platform.python_version(),
            **machine.facts(device),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())) if is_gpu else "none",
            "driver": DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "none",
        },
    }
    return Measured(True, facts=facts)
