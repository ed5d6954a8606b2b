"""A network in one file: what was trained comes out, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import example
import onnx
import pytest
import run_folder
import safetensors.torch
import torch
from drawn_networks import (
    Oddity,
    drawn,
    error,
    images,
    of_small_blocks,
    one_thread,  # noqa: F401
)
from folder_digest import digest
from torch import Tensor, nn

import dnw
from dnw import model_file, models
from dnw.compact import Compact, compact
from dnw.config import load, signature
from dnw.export import card_of, main
from dnw.model_file import Card, ModelFileError, decode, encode, read, write
from dnw.onnx_graph import onnx_model
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, Identity, Position
from dnw.training.evaluation import Normalize

pytestmark = pytest.mark.usefixtures("one_thread")
CARD = Card(
    run="example-0123456789",
    step=10,
    image_size=32,
    resize=None,
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.2, 0.1),
    classes=10,
    class_names=None,
)
ODD = Oddity(density=0.3, unread=0.2, unfed=0.3)
KINDS = ("mobilenet", "small", "static")


def _network(kind: str, monkeypatch: pytest.MonkeyPatch, oddity: Oddity = ODD) -> nn.Module:
    of_small_blocks(monkeypatch)
    return drawn(kind, 32, oddity=oddity)


def _expected(network: nn.Module, images_BCHW: Tensor) -> Tensor:
    with torch.no_grad():
        logits_BK: Tensor = network(images_BCHW)
    return logits_BK


def _tensors(part: object) -> list[Tensor]:
    if isinstance(part, Tensor):
        return [part]
    if isinstance(part, tuple):
        return [tensor for inner in part for tensor in _tensors(inner)]
    if dataclasses.is_dataclass(part):
        return _tensors(tuple(getattr(part, field.name) for field in dataclasses.fields(part)))
    return []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", [0.3, 0.0])
def test_what_is_written_is_read(
    kind: str, density: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = compact(_network(kind, monkeypatch, dataclasses.replace(ODD, density=density)), 32)
    path = tmp_path / "one.safetensors"
    write(path, network, CARD)
    found, card = read(path)
    assert card == CARD
    assert [(len(block.layers), block.side) for block in found.blocks] == [
        (len(block.layers), block.side) for block in network.blocks
    ]
    pairs = list(zip(_tensors(found), _tensors(network), strict=True))
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in pairs)
    assert encode(found, card) == path.read_bytes()
    assert safetensors.torch.load_file(path)["network.head.bias"].shape == (10,)


@pytest.mark.parametrize("engine", ["compact", "auto"])
def test_load(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network("mobilenet", monkeypatch)
    write(tmp_path / "one.safetensors", compact(network, 32), CARD)
    loaded = dnw.load(tmp_path / "one.safetensors", engine=engine)
    assert loaded.card.classes == 10
    pixels = torch.randint(
        0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    normalized = Normalize(CARD.mean, CARD.std, torch.device("cpu"))(pixels)
    by_hand = (pixels / 255 - torch.tensor(CARD.mean).view(3, 1, 1)) / torch.tensor(CARD.std).view(3, 1, 1)
    torch.testing.assert_close(normalized, by_hand)
    expected = _expected(network, by_hand)
    assert error(loaded(pixels), expected) < 1e-5
    assert error(loaded(normalized), expected) < 1e-5


def test_images_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = dataclasses.replace(CARD, resize=37)
    write(tmp_path / "one.safetensors", compact(_network("static", monkeypatch), 32), card)
    loaded = dnw.load(str(tmp_path / "one.safetensors"), engine="csr", threads=1)
    message = (
        r"images must be \[B, 3, 32, 32\], got \[1, 3, 48, 40\]: "
        "scale the shorter side to 37 pixels, bilinear, then cut 32x32 pixels out of the centre"
    )
    with pytest.raises(ValueError, match=message):
        loaded(torch.zeros(1, 3, 48, 40, dtype=torch.uint8))
    with pytest.raises(
        ValueError, match=r"images must be uint8, or normalized and float32; got torch\.float64"
    ):
        loaded(torch.zeros(1, 3, 32, 32, dtype=torch.float64))


def test_importing_dnw_brings_no_torch() -> None:
    code = "import sys, dnw; assert callable(dnw.load); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small file."""
    return encode(compact(_network("mobilenet", monkeypatch), 32), CARD)


def test_a_truncated_file_is_refused(content: bytes) -> None:
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(ModelFileError, match="damaged"):
            decode(content[:length])
    with pytest.raises(ModelFileError, match="damaged"):
        decode(content + b"\0")


def test_any_flipped_bit_is_refused(content: bytes) -> None:
    header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(0, header, 7), *range(header, len(content), 211)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ModelFileError):
            decode(bytes(damaged))


def test_a_damaged_file_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = f"{path}: damaged: its digest is .*, it says .*: copy it again, or export the run again"
    with pytest.raises(ModelFileError, match=message):
        dnw.load(path)


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"no such file at all" * 10,
        b"\xff" * 100,
        safetensors.torch.save({"weight": torch.zeros(3)}),
        safetensors.torch.save({"weight": torch.zeros(3)}, {"dnw": "[]"}),
        safetensors.torch.save({"weight": torch.zeros(3)}, {"dnw": "{"}),
    ],
)
def test_a_foreign_file_is_refused(foreign: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(foreign)
    with pytest.raises(ModelFileError, match=r"other: no file of .* dnw\.export, or damaged at its head"):
        dnw.load(tmp_path / "other")
    with pytest.raises(ModelFileError, match=r"missing: can't be read \(No such file or directory\)"):
        dnw.load(tmp_path / "missing")


def test_another_version_of_the_format(content: bytes) -> None:
    changed = content.replace(b'\\"format\\": 1', b'\\"format\\": 2')
    assert changed != content
    with pytest.raises(ModelFileError, match="has format 2, this program reads 1: export the run again"):
        decode(changed)


@pytest.mark.parametrize("field", ["sources", "starts", "mapped", "columns", "filters", "side", "window"])
def test_what_points_nowhere_is_refused_whatever_its_digest(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its digest is right: native code reads where indices point."""
    network = compact(_network("mobilenet", monkeypatch, Oddity(density=0.5, unfed=0.3)), 32)
    block = network.blocks[-1]
    sums, layer, head = block.sums[0], block.layers[0], network.head
    match field:
        case "sources" | "mapped" | "starts":
            index = getattr(sums, field).clone()
            index[-1] = 10_000
            sums = dataclasses.replace(sums, **{field: index})
        case "columns":
            sums = dataclasses.replace(sums, columns=sums.columns + 1)
        case "filters":
            layer = dataclasses.replace(layer, filters=layer.filters[:-1])
        case "side":
            block = dataclasses.replace(block, side=block.side + 1)
        case "window":
            head = dataclasses.replace(head, window=head.window + 1)
    block = dataclasses.replace(block, layers=(layer, *block.layers[1:]), sums=(sums, *block.sums[1:]))
    crafted = dataclasses.replace(network, blocks=(*network.blocks[:-1], block), head=head)
    with pytest.raises(ModelFileError, match=r"another program or changed on purpose \(no compact"):
        decode(encode(crafted, CARD))


def test_structure_of_a_wrong_type_is_refused(content: bytes) -> None:
    head = content[8 : 8 + int.from_bytes(content[:8], "little")]
    entry = json.loads(json.loads(head)["__metadata__"]["dnw"])
    entry["network"]["blocks"][0]["side"] = "32"
    entry["digest"] = "0" * 64
    crafted = safetensors.torch.save(safetensors.torch.load(content), {"dnw": json.dumps(entry)})
    digest = hashlib.sha256(crafted).hexdigest().encode()
    with pytest.raises(ModelFileError, match=r"network\.blocks\.0\.side: must be int, got '32'"):
        decode(crafted.replace(b"0" * 64, digest, 1))


def test_the_disk_is_full(small_disk: Path, content: bytes) -> None:
    path = small_disk / "one.safetensors"
    (small_disk / "filler").write_bytes(bytes(2**20 - 8 * 2**10))
    with pytest.raises(OSError, match="No space left"):
        write(path, *decode(content))
    assert [one.name for one in small_disk.iterdir()] == ["filler"]


def _run(folder: Path, network: nn.Module, **changes: Any) -> Run:
    run = run_folder.make(folder, **changes)
    saved = Checkpoint(
        identity=Identity("example", signature(load(run.config)), "", ""),
        position=Position(step=10),
        model=network.state_dict(),
        optimizer={},
        meter=torch.zeros(3, dtype=torch.float64),
        masks={},
    )
    checkpoint.write(step_path(run.checkpoints, 10), checkpoint.encode(saved))
    return run


def test_export_of_a_run(
    tmp_path: Path,
    fashion_mnist_shards: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = drawn("static", 32, oddity=None)
    run = _run(tmp_path, network)
    out, graph = tmp_path / "static.safetensors", tmp_path / "static.onnx"
    arguments = [str(run.folder), str(out), "--onnx", str(graph), "--data", str(fashion_mnist_shards)]
    assert main(arguments) == 0
    assert "edges, step 10\n" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    loaded = dnw.load("static.safetensors", engine="csr")
    assert loaded.card.class_names is not None
    assert len(loaded.card.class_names) == 10
    assert loaded.card.step == 10
    x = images(2, 32)
    assert error(loaded(x), _expected(network, x)) < 1e-5
    properties = {one.key: json.loads(one.value) for one in onnx.load(graph).metadata_props}
    assert properties["mean"] == [0.5, 0.5, 0.5]
    assert properties["image_size"] == 32


def test_export_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "out.safetensors")
    assert main([str(tmp_path / "none"), out]) == 1
    assert "none: no such run folder or checkpoint" in capsys.readouterr().err
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    assert main([str(run.folder), str(tmp_path / "no" / "folder.safetensors")]) == 1
    assert "its folder" in capsys.readouterr().err
    assert main([str(run.folder), out, "--data", str(tmp_path)]) == 1
    assert "no shards" in capsys.readouterr().err
    discrete = models.build(example.train(model__name="discrete"))
    other = _run(tmp_path / "other", discrete, model__name="discrete")
    assert main([str(other.folder), out]) == 1
    assert "model=discrete has no compact form, only mobilenet and static have" in capsys.readouterr().err
    assert not Path(out).exists()


@pytest.mark.parametrize("words", [["x.pt"], ["x"], ["x.safetensors", "--onnx", "x.pb"], ["x.ONNX"]])
def test_a_name_that_says_no_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    before = digest(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(run.folder), *words])
    assert ended.value.code == 2
    assert f"{words[-1]!r}: must end in " in capsys.readouterr().err
    assert digest(tmp_path) == before


def test_onnx_by_its_name(tmp_path: Path) -> None:
    run = _run(tmp_path, drawn("static", 32, oddity=None))
    assert main([str(run.folder), str(tmp_path / "x.onnx")]) == 0
    onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"))
    assert not list(tmp_path.glob("*.safetensors"))


def test_card_of_photographs() -> None:
    train = example.train(model__name="mobilenet", data__augment="resized_crop_flip", data__image_size=224)
    card = card_of(dataclasses.replace(train, data=dataclasses.replace(train.data, dir=Path("nowhere"))), 3)
    assert (card.resize, card.image_size, card.class_names, card.step) == (256, 224, None, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", [0.3, 0.0])
def test_onnx(kind: str, density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = _network(kind, monkeypatch, dataclasses.replace(ODD, density=density))
    left: Compact = compact(network, 32)
    content = onnx_model(left, CARD).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(batch, 32)
        (logits,) = session.run(["logits"], {"images": x.numpy()})
        assert error(torch.from_numpy(logits), _expected(network, x)) < 1e-4


def test_format_is_the_same_bytes_as_ever(content: bytes) -> None:
    """A change of the format needs another number, dnw.model_file.FORMAT."""
    head = content[8 : 8 + int.from_bytes(content[:8], "little")]
    entry = json.loads(json.loads(head)["__metadata__"]["dnw"])
    assert list(entry) == ["format", "digest", "card", "network"]
    assert entry["format"] == model_file.FORMAT == 1
    names = sorted(name for name in safetensors.torch.load(content) if name.startswith("network.blocks.0."))
    assert names == [
        "network.blocks.0.layers.0.filters",
        *(
            f"network.blocks.0.sums.0.{name}"
            for name in ("bias", "mapped", "maps", "sources", "starts", "weights")
        ),
    ]
