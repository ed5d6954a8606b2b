"""Networks that deterministic=true stops on a GPU: found by tracing, refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from login_node import Captured, Typed
from run_folder import make
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dnw import model_registry as catalog
from dnw import train as worker
from dnw.compose import training
from dnw.config import ConfigError
from dnw.models.torchvision_cpu import torchvision
from dnw.nondeterministic import NETWORKS, TRACED_AT, check, operation_of, remedy
from dnw.preemption import StopRequest
from dnw.runs.claim import Claim
from dnw.training.watchdog import Watchdog

# Of operations that torch refuses to compute deterministically on CUDA: how they are called in a forward, or
# by the node of their backward. Those of three dimensions, of graphs and of sequences are left out.
IN_FORWARD = {"cumsum", "histc", "median", "put_", "grid_sampler_2d", "max_unpool2d", "nll_loss2d_forward"}
IN_BACKWARD = (
    "AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "FractionalMaxPool2D", "ReflectionPad", "UpsampleLinear",
    "UpsampleBilinear", "UpsampleBicubic", "GridSampler", "EmbeddingBag",
)  # fmt: skip
SOME = {
    "torchvision": (
        "alexnet", "vgg11", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "googlenet",
    ),
    "timm": ("tresnet_m", "mobilevit_xxs", "pvt_v2_b0", "edgenext_small"),
}  # fmt: skip
DOCUMENTED = (  # of what is searched for: the documentation's own words
    "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "FractionalMaxPool2d", "ReflectionPad2d", "``linear``",
    "``bilinear``", "``bicubic``", "grid_sample", "EmbeddingBag", "cumsum", "histc", "median", "put_",
    "MaxUnpool2d", "NLLLoss",
)  # fmt: skip


class Recorded(TorchDispatchMode):
    """Notes the operations that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, called, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        self.names.add(called._schema.name.partition("::")[2])
        return called(*arguments, **(named or {}))


def traced(network: nn.Module, device: str) -> list[str]:
    """The operations without a deterministic kernel in a training step; nothing is computed on "meta"."""
    images = torch.zeros(2, 3, TRACED_AT, TRACED_AT, device=device)
    with Recorded() as recorded:
        loss = network.train()(images).sum()
    nodes, left = set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            left += [before for before, _ in node.next_functions]
    backward = {node.name() for node in nodes if node.name().startswith(IN_BACKWARD)}
    return sorted(backward | (recorded.names & IN_FORWARD))


def of_torchvision(name: str) -> nn.Module:
    settings = {"aux_logits": False, "init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    made: nn.Module = torchvision().models.get_model(name, weights=None, num_classes=10, **settings)
    return made


def of_timm(name: str) -> nn.Module:
    torchvision()
    import timm

    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=10)
    return made


@pytest.fixture
def counted_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks read the numbers of torch.linspace as they are built, which "meta" doesn't have."""
    plain = torch.linspace
    monkeypatch.setattr(
        torch, "linspace", lambda *given, **named: plain(*given, **{"device": "cpu", **named})
    )


@pytest.mark.usefixtures("counted_on_the_cpu")
@pytest.mark.parametrize("library", SOME)
def test_the_networks_that_are_named_are_those_that_are_found(library: str) -> None:
    compare_with_the_table(library, SOME[library])


@pytest.mark.soak
@pytest.mark.usefixtures("counted_on_the_cpu")
def test_all_of_torchvision_and_all_that_are_named() -> None:
    names = [name for name in catalog.names("torchvision") if not name.startswith("regnet_")]
    compare_with_the_table("torchvision", names)
    named = [name for name in catalog.names("timm") if operation_of(f"timm/{name}", TRACED_AT)]
    compare_with_the_table("timm", named)


def compare_with_the_table(library: str, names: Iterable[str]) -> None:
    build = of_torchvision if library == "torchvision" else of_timm
    for name in names:
        with torch.device("meta"):
            network = build(name)
        expected = operation_of(f"{library}/{name}", TRACED_AT) is not None
        assert bool(traced(network, "meta")) == expected, name


def test_names_are_of_networks_that_there_are() -> None:
    known = [f"{library}/{name}" for library in ("torchvision", "timm") for name in catalog.names(library)]
    named = {name for name in known if operation_of(name, TRACED_AT)}
    assert all(any(operation_of(name, TRACED_AT) == NETWORKS[key] for name in named) for key in NETWORKS)
    assert {name for name in named if name.startswith("torchvision/")} == {
        "torchvision/alexnet",
        *(f"torchvision/vgg{n}{norm}" for n in (11, 13, 16, 19) for norm in ("", "_bn")),
    }


@pytest.mark.parametrize("words", DOCUMENTED)
def test_torch_documents_what_is_searched_for(words: str) -> None:
    documented = torch.use_deterministic_algorithms.__doc__ or ""
    _, _, refused = documented.partition("will throw a")
    assert words in refused, "torch has changed its list: go through IN_FORWARD and IN_BACKWARD"


def test_a_cpu_has_deterministic_kernels() -> None:
    torch.set_deterministic_debug_mode("error")
    try:
        image = torch.randn(1, 2, 9, 9, requires_grad=True)
        nn.AdaptiveAvgPool2d(2)(image).sum().backward()
        nn.ReflectionPad2d(1)(image).sum().backward()
        nn.functional.interpolate(image, size=5, mode="bilinear").sum().backward()
        nn.functional.interpolate(image, size=5, mode="bicubic").sum().backward()
        image.cumsum(1).sum().backward()
    finally:
        torch.set_deterministic_debug_mode("default")


VGG = ["+exp=resnet50_sparse", "model=torchvision/vgg11"]
TOLD = (
    "deterministic: model=torchvision/vgg11 has adaptive average pooling, for which CUDA has no "
    "deterministic kernel; set deterministic=false (the same run then ends with other bits each time, also "
    "when it is resumed), choose another network, or train on the CPU (cluster.gpus_per_node=0)"
)


def test_refused_at_submission_where_a_gpu_is_used(
    typed: Typed, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    words = ["model=torchvision/vgg11", "width=null", "sparsity=0.9", "dry_run=true"]
    assert typed(*words, "cluster.gpus_per_node=1") == 2
    assert capfd.readouterr().err == f"{TOLD}\n"
    assert typed(*words) == 0
    assert typed(*words, "cluster.gpus_per_node=0") == 0
    assert typed(*words, "cluster.gpus_per_node=1", "deterministic=false") == 0


def test_with_exact_sums_both_settings_change() -> None:
    with pytest.raises(ConfigError, match=r"set deterministic=false and reduce=fast \("):
        check(training([*VGG, "reduce=exact"]))
    check(training([*VGG, "reduce=fast", "deterministic=false"]))


def test_interpolation_depends_on_the_size() -> None:
    assert operation_of("timm/mobilevit_s", 224) == "bilinear interpolation"
    assert operation_of("timm/mobilevit_s", 256) is None
    assert operation_of("timm/tresnet_m", 256) == "padding by reflection"
    of_256 = training(
        ["+exp=resnet50_sparse", "model=timm/mobilevit_s", "data.image_size=256", "sparsity=0.5"]
    )
    check(of_256)
    sizes = dataclasses.replace(of_256.augment, sizes=((0, 224), (30, 256)))
    with pytest.raises(ConfigError, match="bilinear interpolation"):
        check(dataclasses.replace(of_256, augment=sizes))


def test_what_torch_says_at_the_first_step_becomes_one_line() -> None:
    said = (
        "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
    )
    told = remedy(RuntimeError(said), training(VGG))
    assert told == TOLD.replace("adaptive average pooling", "adaptive_avg_pool2d_backward_cuda")
    assert remedy(RuntimeError("something else"), training(VGG)) is None
    assert remedy(ValueError(said), training(VGG)) is None


def test_the_worker_ends_with_that_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def fails(_worker: object, _world: object) -> None:
        raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set")

    run = make(tmp_path)
    claim = Claim(run, 1)
    monkeypatch.setattr(worker._Worker, "_work", fails)
    monkeypatch.setattr(worker, "configure", lambda _: None)
    monkeypatch.setattr(Watchdog, "start", lambda _: None)  # it would end this process later
    monkeypatch.setattr(worker, "_log_to", lambda *_: None)
    monkeypatch.setattr(worker, "end_children", lambda: None)
    ended: list[object] = []
    monkeypatch.setattr(
        worker._Worker, "_end", lambda _, reason, **facts: ended.append({"reason": reason, **facts})
    )
    assert worker._Worker(run, training(VGG), claim, StopRequest()).main() == 1
    told = capfd.readouterr().err
    assert told.startswith("deterministic: model=torchvision/vgg11 has cumsum_cuda_kernel, for which CUDA")
    assert ended == [{"reason": "error", "detail": told.strip(), "rank": 0}]
