"""Other programs read the shards: timm and webdataset, each in a process of its own."""

import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

from PIL import Image

from shards.index import Index
from shards.reader import Reader

TIMM = """
import json, sys, zlib
from dnw.models.torchvision_cpu import torchvision
torchvision()
from timm.data import create_dataset
ours, dataset = (create_dataset("wds/x", root=sys.argv[1], split=name) for name in ("val", "validation"))
assert len(ours) == len(dataset)
samples = [(zlib.crc32(image.convert("L").tobytes()), int(label)) for image, label in dataset]
print(json.dumps([len(dataset), samples]))
"""

WEBDATASET = """
import io, json, sys, zlib
import webdataset
from PIL import Image
dataset = webdataset.WebDataset(sys.argv[2:], shardshuffle=False, empty_check=False)
samples = [(zlib.crc32(Image.open(io.BytesIO(s["png"])).tobytes()), int(s["cls"])) for s in dataset]
print(json.dumps([len(samples), samples]))
"""


def check(folder: Path, code: str) -> None:
    index = Index.load(folder, "val")
    reader = Reader(index)
    line = [sys.executable, "-c", code, str(folder), *map(str, index.paths)]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    count, samples = json.loads(done.stdout)
    assert count == len(samples) == index.num_samples
    for number, (crc32, label) in enumerate(samples):
        image = Image.open(io.BytesIO(reader.read(number).data))
        assert (crc32, label) == (zlib.crc32(image.tobytes()), index.labels[number])


def test_timm_reads_all_samples(fashion_mnist_shards: Path) -> None:
    check(fashion_mnist_shards, TIMM)


def test_webdataset_reads_all_samples(fashion_mnist_shards: Path) -> None:
    check(fashion_mnist_shards, WEBDATASET)
