"""Whole steps on a CUDA device that isn't there; see tests/fake_cuda."""

from __future__ import annotations

from typing import Any

import example
import pytest
from fake_cuda.reports import Reports

from dnw.engines import NAMES

SIZES = {"batch": 4, "micro_batch": 4, "eval_batch": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "static": {},
    "discrete": {},
    "continuous": {},
    "mobilenet": {},
    "small": {"model__small": True},
    "mobilenet_v1": {"width": 0.25, "sparsity": 0.9},
    "resnet18": {"width": None, "sparsity": 0.9},
}
DDP = (
    ("mobilenet", "fp32", 0, 2),
    ("mobilenet", "bf16", 3, 4),
    ("resnet18", "bf16", 1, 2),
    ("static", "fp32", 1, 2),
)
WIRINGS = ("dnw", "random", "complete", "no_update", "td", "reg_td", "fine_tune", "one_shot")


def _changes(network: str, **changes: Any) -> dict[str, Any]:
    name = "mobilenet" if network == "small" else network
    all_changes = {"model__name": name, **SIZES, **NETWORKS[network], **changes}
    wiring = changes.get("wiring__name")
    if wiring == "complete":
        all_changes.pop("sparsity", None)
    if wiring in ("fine_tune", "one_shot"):
        all_changes["wiring__source"] = "a finished run"
    return all_changes


def _cases() -> dict[str, dict[str, Any]]:
    """Every network with each precision and each reduction, then every wiring of a graph and of a ResNet.

    Each case is a step and a batch of an evaluation.
    """
    cases: dict[str, dict[str, Any]] = {}
    for network in NETWORKS:
        for precision, reduce in (("bf16", "fast"), ("fp32", "exact")):
            batch = 8 if network == "mobilenet" else 4  # two micro-batches
            changes = _changes(network, precision=precision, reduce=reduce, batch=batch)
            cases[f"{network} {precision} {reduce}"] = {"do": "training", "train": changes}
    for wiring in WIRINGS[1:]:
        for network in ("mobilenet", "resnet18"):
            changes = _changes(network, wiring__name=wiring)
            cases[f"{network} {wiring}"] = {"do": "training", "train": changes}
    for wiring in ("dnw", "no_update", "td"):
        changes = _changes("resnet18", wiring__name=wiring, wiring__budget="global")
        cases[f"resnet18 {wiring} global"] = {"do": "training", "train": changes}
    for rank in (0, 3, 7):
        changes = _changes("mobilenet", reduce="exact", batch=64)
        cases[f"rank {rank} of 8"] = {"do": "training", "train": changes, "world_size": 8, "rank": rank}
    for network, precision, rank, size in DDP:
        changes = _changes(network, precision=precision, batch=8 * size)  # two micro-batches each
        case = {"do": "training", "train": changes, "world_size": size, "rank": rank}
        cases[f"{network} {precision} fast, rank {rank} of {size}"] = case
    return cases | _engine_cases()


def _engine_cases() -> dict[str, dict[str, Any]]:
    """Every engine that computes on CUDA, the native one also on very many pixels."""
    cases = {}
    for network in ("mobilenet", "static"):
        for name in NAMES:
            for precision in ("fp32", "bf16") if name in ("dense", "compact") else ("fp32",):
                if name != "dgl":
                    changes = _changes(network, precision=precision, width=0.225)
                    case = {"do": "engine", "name": name, "batch": 2, "train": changes}
                    cases[f"engine {name} {network} {precision}"] = case
    many = _changes("mobilenet", width=1.0, data__image_size=224)
    cases["engine native batch 4096"] = {"do": "engine", "name": "native", "batch": 4096, "train": many}
    return cases


CASES = _cases()
DECOYS = {  # what a trace must find, as Python on x [4, 8, 6, 6] of the device: what the report says of it
    "x.sum().item()": "DataDependentOutputException: aten._local_scalar_dense",
    "x[:, 0, 0, 0].tolist()": "_local_scalar_dense",
    "bool(x.any())": "_local_scalar_dense",
    "float(x.mean())": "_local_scalar_dense",
    "x[x > 0]": "DynamicOutputShapeException: aten.nonzero",
    "x.masked_select(x > 0)": "aten.masked_select",
    "x.unique()": "aten._unique2",
    "x.cpu()": "_to_copy from cuda to cpu",
    "torch.empty(4, 8, 6, 6).copy_(x)": "copy_ from cuda to cpu",
    "torch.tensor(1.0, device=x.device)": "_to_copy from cpu to cuda",
    "torch.ones(3).to(x.device)": "_to_copy from cpu to cuda",
    "torch.cuda.synchronize()": "torch.cuda.synchronize",
    "torch.ones(3) + 1": "add on the CPU",
    "x + torch.ones(6)": "found at least two devices",
    "x.flatten().cumsum(0)": "cumsum has no deterministic kernel",
    "torch.nn.AdaptiveAvgPool2d(2)(x).sum().backward()": "_adaptive_avg_pool2d_backward has no",
    "torch.nn.ReflectionPad2d(1)(x).sum().backward()": "reflection_pad2d_backward has no",
}


@pytest.fixture(scope="module")
def reports() -> Reports:
    cases = {name: {**case, "train": example.values(**case["train"])} for name, case in CASES.items()}
    return Reports(cases | {code: {"do": "decoy", "code": code} for code in DECOYS})


@pytest.mark.xdist_group("fake_cuda")
@pytest.mark.parametrize("code", DECOYS)
def test_a_trace_finds(reports: Reports, code: str) -> None:
    report = reports[code]
    found = [report["error"]] if "error" in report else report["waits"] + report["faults"]
    assert any(DECOYS[code] in one for one in found), found


@pytest.mark.xdist_group("fake_cuda")
@pytest.mark.parametrize("case", CASES)
def test_nothing_waits_or_computes_elsewhere(reports: Reports, case: str) -> None:
    report = reports[case]
    assert "error" not in report, report["error"]
    assert report["waits"] == []
    assert report["faults"] == []


@pytest.mark.xdist_group("fake_cuda")
def test_an_exact_sum_over_eight_ranks_sends_six_messages(reports: Reports) -> None:
    calls = reports["rank 3 of 8"]["calls"]
    assert calls["send"] == calls["recv_"] == 6


@pytest.mark.xdist_group("fake_cuda")
@pytest.mark.parametrize("case", [case for case in CASES if " fast, rank " in case])
def test_ddp_sums_gradients_once_a_step_and_statistics_where_there_are_any(
    reports: Reports, case: str
) -> None:
    """Nothing is sent after the first of two micro-batches; which layers have statistics the network says."""
    assert reports[case]["calls"]["allreduce_"] == 2
