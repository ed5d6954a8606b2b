"""In which numbers a network computes."""

from __future__ import annotations

import torch


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Put around every forward: fp32 as it is, bf16 with products and feature maps in bfloat16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
