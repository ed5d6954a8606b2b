"""A trained network in one file: what was written is read, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from drawn_networks import (
    Oddity,
    one_thread,  # noqa: F401
)
from exported import CARD, KINDS, ODD, odd_network
from torch import Tensor

import dnw
from dnw.compact import compact
from dnw.compact.parts import put_together
from dnw.exported import model_file
from dnw.exported.model_file import Card, ModelFileError, decode, encode, read, write

pytestmark = pytest.mark.usefixtures("one_thread")


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
    network = compact(odd_network(kind, monkeypatch, dataclasses.replace(ODD, density=density)), 32)
    path = tmp_path / "one.safetensors"
    write(path, network, CARD)
    found, card = read(path)
    assert card == CARD
    assert [(len(block.layers), block.side) for block in found.blocks] == [
        (len(block.layers), block.side) for block in network.blocks
    ]
    pairs = list(zip(_tensors(found.tensors()), _tensors(network), strict=True))
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in pairs)
    assert encode(found.tensors(), card) == path.read_bytes()
    assert safetensors.torch.load_file(path)["network.head.bias"].shape == (10,)


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small file."""
    return encode(compact(odd_network("mobilenet", monkeypatch), 32), CARD)


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
    network = compact(odd_network("mobilenet", monkeypatch, Oddity(density=0.5, unfed=0.3)), 32)
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


def test_what_a_file_of_an_earlier_version_does_not_say_is_as_it_was_then() -> None:
    card = dataclasses.asdict(CARD)
    del card["stored"]
    assert put_together(Card, card, "card", {}) == CARD
    with pytest.raises(KeyError, match="image_size"):
        put_together(Card, {name: value for name, value in card.items() if name != "image_size"}, "card", {})


def test_the_disk_is_full(small_disk: Path, content: bytes) -> None:
    path = small_disk / "one.safetensors"
    (small_disk / "filler").write_bytes(bytes(2**20 - 8 * 2**10))
    network, card = decode(content)
    with pytest.raises(OSError, match="No space left"):
        write(path, network.tensors(), card)
    assert [one.name for one in small_disk.iterdir()] == ["filler"]


def test_format_is_the_same_bytes_as_ever(content: bytes) -> None:
    """A change of the format needs another number, dnw.exported.model_file.FORMAT."""
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
