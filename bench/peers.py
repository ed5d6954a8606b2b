"""Networks of published accuracy, in the runtimes that people deploy them with."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dnw import models
from dnw.compact import Compact
from dnw.compose import training
from dnw.exported.model_file import Card
from dnw.exported.onnx_graph import onnx_model
from dnw.models.torchvision_cpu import torchvision

Run = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Peer:
    """A dense network, and its published top-1 accuracy on ImageNet in percent."""

    name: str
    top1: float
    build: Callable[[int], nn.Module]  # from the size of images


def mobilenet_v1(width: float, size: int) -> nn.Module:
    """Build the dense network that the wirings began with."""
    words = ["+exp=cifar_mobilenet_v1", f"width={width}", f"data.image_size={size}", "data.classes=1000"]
    network: nn.Module = models.build(training(words)).eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _shufflenet_v2(name: str) -> nn.Module:
    network: nn.Module = getattr(torchvision().models, name)().eval()
    return network


PEERS = (
    Peer("MobileNetV1 x0.25", 50.6, lambda size: mobilenet_v1(0.25, size)),
    Peer("MobileNetV1 x0.5", 63.7, lambda size: mobilenet_v1(0.5, size)),
    Peer("ShuffleNetV2 x0.5", 60.3, lambda _: _shufflenet_v2("shufflenet_v2_x0_5")),
    Peer("ShuffleNetV2 x1", 69.4, lambda _: _shufflenet_v2("shufflenet_v2_x1_0")),
)


def exported(network: nn.Module, batch: int, size: int) -> bytes:
    """Return a network as an ONNX file for batches of exactly this size, which runtimes like best."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the other exporter needs one more package
        path = Path(folder) / "network.onnx"
        images_BCHW = torch.zeros(batch, 3, size, size)
        torch.onnx.export(network, (images_BCHW,), str(path), dynamo=False, input_names=["images"])
        return path.read_bytes()


def exported_wiring(left: Compact) -> bytes:
    """Return what is left of a wiring as `python -m dnw.export --onnx` writes it."""
    card = Card(
        run="",
        step=0,
        image_size=left.image_size,
        resize=None,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        classes=len(left.head.bias),
        class_names=None,
    )
    content: bytes = onnx_model(left, card).SerializeToString()
    return content


def onnx_runtime(network: bytes, threads: int) -> Run:
    """Load an ONNX file into ONNX Runtime on the CPU."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def run(images_BCHW: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images_BCHW.numpy()})[0])

    return run


def openvino(network: bytes, threads: int) -> Run:
    """Load an ONNX file into OpenVINO on the CPU, in float32 as all others."""
    import openvino  # noqa: PLC0415

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(network, b""), "CPU", settings).create_infer_request()

    def run(images_BCHW: Tensor) -> Tensor:
        found: np.ndarray = next(iter(request.infer({0: images_BCHW.numpy()}).values()))
        return torch.from_numpy(found)

    return run


RUNTIMES = {"ONNX Runtime": onnx_runtime, "OpenVINO": openvino}
