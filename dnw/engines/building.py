"""Build an engine by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dnw.compact import Compact, can_compact, compact
from dnw.engines.engine import CPU, Engine
from dnw.engines.names import NAMES
from dnw.hardware.device import takes_kernels
from shards.errors import did_you_mean
from shards.machine.cores import usable_cores

Precision = Literal["fp32", "bf16"]
Run = Callable[[Tensor], Tensor]
_IN_BF16 = ("dense", "compact", "native")


def build(
    name: str,
    network: nn.Module | Compact,
    image_size: int,
    threads: int | None = None,
    precision: Precision = "fp32",
    device: torch.device | str = CPU,
) -> Engine:
    """Build an engine: a function from normalized images [B, 3, H, W] to logits [B, classes].

    - dense: the network as it was trained, with its edges baked into plain weights. Of any network.
    - compact: what is left of it (dnw.compact), as dense matrices.
    - csr: the same with torch's sparse matrices. dgl: as messages along the edges of a DGL graph, on a CPU.
    - native: machine code for this one kind of network (dnw/engines/native).
    - auto: whichever is fastest here, measured at the first batch of each size and remembered on disk
      (dnw/engines/winners.py); of a network that has no compact form that is dense.

    Args:
        name: one of these.
        network: a trained network, or one in compact form.
        image_size: H and W, in pixels.
        threads: how many cores compute; None: as many as torch uses.
        precision: fp32, or bf16, of dense and compact, and of native on a CPU, which then keeps maps in it
            and computes in fp32. Logits are float32.
        device: where the images are.

    Raises:
        ValueError: no such engine, or none in that precision or on that device; a compact network of another
            size, or as dense.
        TypeError: a network that has no compact form, for an engine that needs it.
        ImportError: dgl isn't installed, the message says how to; or triton isn't, for native on a GPU.
    """
    device = torch.device(device)
    _check(name, threads, precision, device)
    device = _with_index(device)
    is_plain = isinstance(network, nn.Module) and not can_compact(network)
    if name == "dense" or (name == "auto" and is_plain):
        return Engine("dense", image_size, threads, _dense(network, precision, device), device)
    left = compact(network, image_size) if isinstance(network, nn.Module) else network
    if left.image_size != image_size:
        raise ValueError(f"image_size: this compact network is for {left.image_size} px, not {image_size}")
    left = left.to(device=device)
    if name == "auto":
        run = _auto(network, left, threads, precision)
    else:
        run = _engine(name, left, threads, precision)
    return Engine(name, image_size, threads, run, device)


def _with_index(device: torch.device) -> torch.device:
    """Return the device as tensors on it name theirs: `cuda` is the current one of several."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _check(name: str, threads: int | None, precision: Precision, device: torch.device) -> None:
    if name not in NAMES:
        raise ValueError(f"no engine {name!r}{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: must be at least 1, or None for as many as torch uses (got {threads})")
    if precision == "bf16" and name not in (*_IN_BF16, "auto"):
        raise ValueError(f"engine {name} computes in fp32 only; for bf16 take {', '.join(_IN_BF16)}")
    if precision == "bf16" and name == "native" and device.type != "cpu":
        raise ValueError(f"engine native computes in fp32 only on {device}; for bf16 take dense or compact")
    if name == "dgl" and device.type != "cpu":
        raise ValueError(f"engine dgl computes on the CPU, not on {device}")


def _dense(network: nn.Module | Compact, precision: Precision, device: torch.device) -> Run:
    from dnw.engines.dense import Dense  # noqa: PLC0415  (engines are imported when they are asked for)

    if isinstance(network, Compact):
        raise ValueError("engine dense runs a network as it was trained, and only its compact form is here")
    return Dense(network, precision, device)


def _engine(name: str, network: Compact, threads: int | None, precision: Precision) -> Run:
    if network.stem is None:
        return network.constant
    match name:
        case "compact":
            from dnw.engines.dense_compact import dense_compact  # noqa: PLC0415

            return dense_compact(network, precision)
        case "csr":
            from dnw.engines.csr import csr  # noqa: PLC0415

            return csr(network)
        case "dgl":
            from dnw.engines.graph_dgl import graph_dgl  # noqa: PLC0415

            return graph_dgl(network)
        case _ if network.device.type == "cpu":
            # threads wait for each other in a loop, so that more than can run at once slow each other down
            usual = min(torch.get_num_threads(), usable_cores())
            return _native(network, threads or usual, precision)
        case _:
            from dnw.engines.native.gpu import gpu  # noqa: PLC0415

            if not takes_kernels(network.device):
                raise ValueError(f"engine native: Triton has no code for a GPU as old as {network.device}")

            return gpu(network)


def _native(network: Compact, threads: int, precision: Precision) -> Run:
    from dnw.engines.native.network import Native  # noqa: PLC0415

    native = Native(network.arrays(), threads, precision)
    return lambda images_BCHW: torch.from_numpy(native(images_BCHW.detach().numpy()))


def _auto(network: nn.Module | Compact, left: Compact, threads: int | None, precision: Precision) -> Run:
    from dnw.engines import winners  # noqa: PLC0415
    from dnw.engines.auto import Auto  # noqa: PLC0415

    has_native = left.device.type == "cpu" or (precision == "fp32" and takes_kernels(left.device))
    names = [name for name in ("native", "csr", "compact") if precision == "fp32" or name in _IN_BF16]
    names = [name for name in names if name != "native" or has_native]
    candidates = {name: _engine(name, left, threads, precision) for name in names}
    if isinstance(network, nn.Module):
        candidates["dense"] = _dense(network, precision, left.device)
    kept = winners.place(left, candidates, threads or torch.get_num_threads(), precision)
    return Auto(candidates, kept)
