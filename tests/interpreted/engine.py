"""How far the kernels for a GPU are off, run by Triton's interpreter.

    python interpreted/engine.py KIND SIZE BATCH

A process of its own, as Triton decides whether to interpret when it is imported.
"""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from drawn_networks import BLOCKS, Oddity, drawn, error, images

from dnw.compact import compact
from dnw.engines.native.gpu import gpu
from dnw.models import mobilenet

if __name__ == "__main__":
    kind, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mobilenet.BLOCKS, mobilenet.FEATURES = BLOCKS, BLOCKS[-1][1]  # type: ignore[assignment]
    torch.set_num_threads(1)
    density = 0.01 if kind == "static" else 0.2  # the interpreter takes a while for an edge
    network = drawn(kind, size, oddity=Oddity(density=density, unread=0.2, unfed=0.2, silent=0.1), width=0.05)
    x = images(batch, size)
    with torch.inference_mode():
        print(error(gpu(compact(network, size))(x), network(x)))
