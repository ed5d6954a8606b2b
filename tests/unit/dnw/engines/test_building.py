"""Every engine gives the logits of the masked network."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import drawn_networks
import example
import pytest
import torch
from drawn_networks import (
    Oddity,
    drawn,
    error,
    images,
    of_small_blocks,
    one_thread,  # noqa: F401
)
from torch import Tensor

from dnw import models
from dnw.compact import Compact, compact
from dnw.engines import NAMES, build, building, winners
from dnw.engines.native import plan

pytestmark = pytest.mark.usefixtures("one_thread")
ODD = Oddity(density=0.2, unread=0.2, unfed=0.2, silent=0.1)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "dgl":
        monkeypatch.setenv("DGLBACKEND", "pytorch")  # else dgl writes to the home folder
        pytest.importorskip(
            "dgl", reason="the extra dgl isn't installed; on PyPI it is there for Python 3.11"
        )
    return str(request.param)


@pytest.mark.parametrize(
    ("kind", "size", "width"),
    [
        ("mobilenet", 37, 0.225),
        ("mobilenet", 97, 0.15),
        ("mobilenet", 32, 1.0),
        ("small", 28, 0.1),
        ("static", 37, 0.05),
    ],
)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "auto"], indirect=True)
def test_equal_to_the_masked_network(name: str, kind: str, size: int, width: float) -> None:
    network = _network(kind, size, None, width)
    _, expected, _ = _expected(network, size)
    assert error(expected[:1], expected[1:2]) > 0.01  # the image matters
    _assert_equal(name, network, size)


@pytest.mark.parametrize("kind", ["mobilenet", "small", "static"])
def test_equal_where_the_graph_is_odd(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_small_blocks(monkeypatch)
    _assert_equal(name, _network(kind, 37, ODD, 0.05), 37)


@functools.lru_cache  # of the largest, drawing takes a second
def _network(kind: str, size: int, oddity: Oddity | None, width: float) -> torch.nn.Module:
    return drawn(kind, size, oddity=oddity, width=width)


def _assert_equal(name: str, network: torch.nn.Module, size: int) -> None:
    x, expected, left = _expected(network, size)
    engine = build(name, network if name in ("dense", "auto") else left, size)
    assert error(engine(x), expected) < 1e-5
    assert error(engine(x[1:2]), expected[1:2]) < 1e-5
    assert error(engine(x.contiguous(memory_format=torch.channels_last)), expected) < 1e-5
    assert error(engine(x[:, :, :, torch.arange(size)].expand(3, -1, -1, -1)), expected) < 1e-5


@functools.lru_cache
def _expected(network: torch.nn.Module, size: int) -> tuple[Tensor, Tensor, Compact]:
    x = images(3, size)
    with torch.no_grad():
        expected = network(x)
    return x, expected, compact(network, size)


@pytest.mark.parametrize("kind", ["mobilenet", "static"])
def test_a_network_without_a_path(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_small_blocks(monkeypatch)
    _assert_equal(name, _network(kind, 32, Oddity(density=0), 0.05), 32)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of_small_blocks(monkeypatch)
    network = drawn("mobilenet", 33, oddity=ODD)
    before = torch.get_num_threads()
    engine = build(name, network, 33, threads=threads)
    x = images(2, 33)
    with torch.no_grad():
        assert error(engine(x), network(x)) < 1e-5
    assert torch.get_num_threads() == before


def test_the_image_is_left_alone_and_logits_are_ordinary(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_small_blocks(monkeypatch)
    engine = build(name, drawn("mobilenet", 32, oddity=ODD), 32)
    x = images(2, 32)
    before = x.clone()
    first = engine(x)
    kept = first.clone()
    engine(-x)
    assert torch.equal(x, before)
    assert torch.equal(first, kept)  # no memory of the engine's
    factor = torch.ones(10, requires_grad=True)
    (first * factor).sum().backward()
    assert factor.grad is not None


@pytest.mark.parametrize("kind", ["mobilenet", "small", "static"])
@pytest.mark.parametrize("engine", ["dense", "compact", "native"])
def test_bf16(kind: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "EDGES", 0)
    network = drawn(kind, 32, oddity=None, width=0.3)
    x = images(2, 32)
    with torch.no_grad():
        expected = network(x)
    found = build(engine, network, 32, precision="bf16")(x)
    assert found.dtype == torch.float32
    assert 0 < error(found, expected) < 0.1


@pytest.mark.parametrize("engine", ["csr", "dgl"])
def test_other_engines_refuse_bf16(engine: str) -> None:
    with pytest.raises(
        ValueError, match=f"engine {engine} computes in fp32 only; for bf16 take dense, compact, native"
    ):
        build(engine, drawn("static", 32), 32, precision="bf16")


@pytest.mark.parametrize(
    ("kind", "size", "batch"), [("mobilenet", 37, 2), ("small", 32, 1), ("static", 29, 3)]
)
def test_kernels_for_a_gpu_on_their_interpreter(kind: str, size: int, batch: int) -> None:
    script = Path(drawn_networks.__file__).parent / "interpreted/engine.py"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, str(script), kind, str(size), str(batch)]
    done = subprocess.run(words, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5


def test_a_device_that_kernels_are_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left = compact(drawn("static", 32), 32)
    with pytest.raises(ValueError, match="engine native: Triton has no code for a GPU as old as meta"):
        build("native", left, 32, device="meta")
    made: list[str] = []
    monkeypatch.setattr(building, "_engine", lambda name, *_: made.append(name))
    monkeypatch.setattr(winners, "place", lambda *_: Path("none"))
    build("auto", left, 32, device="meta")
    assert made == ["csr", "compact"]


def test_an_engine_for_another_device_is_refused() -> None:
    network = drawn("static", 32)
    with pytest.raises(ValueError, match="engine dgl computes on the CPU, not on cuda"):
        build("dgl", network, 32, device="cuda")
    with pytest.raises(ValueError, match="engine compact was built for cpu, images are on meta"):
        build("compact", network, 32)(images(1, 32).to("meta"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in NAMES if name != "dgl"], indirect=True)
@pytest.mark.parametrize("kind", ["mobilenet", "small", "static"])
def test_on_a_gpu(name: str, kind: str) -> None:
    network = _network(kind, 37, ODD, 0.05)
    x, expected, left = _expected(network, 37)
    engine = build(name, network if name in ("dense", "auto") else left, 37, device="cuda")
    assert error(engine(x.cuda()).cpu(), expected) < 1e-5


def test_images_of_another_size_or_type() -> None:
    engine = build("compact", drawn("static", 32), 32)
    message = "engine compact was built for images of 32x32 pixels, got 28x28: .* with image_size=28"
    with pytest.raises(ValueError, match=message):
        engine(images(1, 28))
    with pytest.raises(ValueError, match=r"images must be \[B, 3, 32, 32\] with B >= 1, got \[3, 32, 32\]"):
        engine(images(1, 32)[0])
    with pytest.raises(ValueError, match="B >= 1"):
        engine(images(1, 32)[:0])
    with pytest.raises(ValueError, match=r"must be normalized and float32, got torch\.uint8"):
        engine(images(1, 32).byte())


def test_what_build_refuses() -> None:
    network = drawn("static", 32)
    with pytest.raises(
        ValueError, match=r"no engine 'nativ'; did you mean native.; there are dense, compact"
    ):
        build("nativ", network, 32)
    with pytest.raises(ValueError, match=r"threads: must be at least 1, .* \(got 0\)"):
        build("compact", network, 32, threads=0)
    left = compact(network, 32)
    with pytest.raises(ValueError, match="image_size: this compact network is for 32 px, not 28"):
        build("csr", left, 28)
    with pytest.raises(ValueError, match="dense runs a network as it was trained, and only its compact form"):
        build("dense", left, 32)
    with pytest.raises(TypeError, match="Discrete has no compact form"):
        build("csr", models.build(example.train(model__name="discrete")), 32)
