"""Commands that nobody thought of, on files that nobody thought of: each ends with 0, 1 or 2 and a word.

The commands' own main functions, with any settings; `make soak` runs this for minutes, too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from unit.shards.zoo.test_fuzz import FORMS, NAMES, SOAK_S, in_a_folder, mutated, pack, run, said

from shards import command, index, verify, workers, write
from shards.errors import ShardError
from shards.index import Index, tars
from shards.reader import Reader

STEP = 80  # grey values between the classes: more than JPEG loses
MAINS = {"write": write.main, "index": index.main, "verify": verify.main}
NUMBERS = st.sampled_from(["0", "1", "2", "3", "8", "99999", "-1", "x", "", "1e3", "9" * 30, "٣"])
PATTERNS = st.sampled_from(["*", "*.csv", "*.png", "a", "b", "train", "train/a", "[", "[!a]", "**", "", "?",
                            "*.tar", "{}", "\udce9*", "(?P<p0>", "x-train-0001.tar"])  # fmt: skip
GLOBS = st.sampled_from(["train=*.tar", "train=x-train-*.tar", "val=*val*", "val=x-*", "train=a/*.tar",
                         "test=*", "train", "=", "a/b=*", "train=[", "train=../*.tar", "train=/*",
                         "train=**"])  # fmt: skip
FILES = ["names.txt", "names.json", "out", "nowhere", "source", "source/train", "out/x-train-0000.tar",
         "out/index-train.json", "page.html", "a\0b"]  # fmt: skip
PLACES = st.sampled_from([*FILES, "", "~nobody", "file:///x"])
CONTENTS = st.sampled_from(["image"] * 8 + ["empty", "page", "cut"])


def option(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return values.map(lambda value: [f"--{name}", value])


COUNTS = ("shard-samples", "seed", "longest", "quality", "max-pixels", "size")
FLAGS = {
    "write": st.one_of(*(option(name, NUMBERS) for name in COUNTS), option("skip", PATTERNS),
                       option("classes", PLACES), st.just(["--skip-bad"])),
    "index": st.one_of(option("skip", PATTERNS), option("split", GLOBS), option("classes", PLACES),
                       st.just(["--same-keys"])),
    "verify": st.one_of(st.just(["--quick"]), st.just(["--repair"]), st.just(["--json"]),
                        option("report", PLACES)),
}  # fmt: skip


@st.composite
def words(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A command and its words; names of files begin below a folder that is put before them."""
    name = draw(st.sampled_from(["write", "write", "index", "index", "verify", "verify"]))
    options = [word for some in draw(st.lists(FLAGS[name], max_size=3)) for word in some]
    usual = draw(st.integers(0, 5))
    if name != "write":
        return name, ["out" if usual else draw(PLACES), *options]
    kind = "imagefolder" if usual else draw(st.sampled_from(["imagenet", "cifar10", "fashion_mnist", "x"]))
    places = ["source", "out"] if usual > 1 else [draw(PLACES), draw(PLACES)]
    return name, [kind, *places, *options]


def typed(folder: Path, name: str, arguments: list[str]) -> None:
    """Type a command; anything but 0, 1, 2 and text that a terminal shows is a fault of the program."""
    put = [str(folder / word) if word in FILES else word for word in arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command.run(lambda: MAINS[name](put))
        except SystemExit as end:
            code = int(end.code or 0)
    assert code in {0, 1, 2}, (name, put)
    assert code == 0 or err.getvalue().strip(), (name, put)
    (out.getvalue() + err.getvalue()).encode("utf-8", "backslashreplace")


def all_have_their_labels(folder: Path, classes: list[str]) -> None:
    for path in folder.rglob("index-*.json"):
        split = path.stem.removeprefix("index-")
        try:
            reader = Reader(Index.load(path.parent, split))
        except (ShardError, OSError) as error:
            said(error)
            continue
        for number in range(reader.index.num_samples):
            try:
                data, label = reader.read(number)
            except (ShardError, OSError) as error:
                said(error)
                continue
            if found := re.fullmatch(rb"P6 1 1 255\nrgb of class (\d+), number \d+", data):
                assert label == int(found[1]) or label not in {111, 222}
            elif reader.index.classes and len(data) > 40:
                with suppress(OSError):
                    grey = int(np.asarray(Image.open(io.BytesIO(data)).convert("L"))[0, 0])
                    assert reader.index.classes[label] == classes[round(grey / STEP)]


def odd_commands(draw: st.DataObject) -> None:
    """Each command on what those before it left."""
    classes = draw.draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    splits, endings = (
        st.sampled_from(["train", "val", "other"]),
        st.sampled_from([".png", ".jpg", "", ".csv"]),
    )
    image = st.tuples(splits, st.integers(0, len(classes) - 1), NAMES, endings, CONTENTS)
    images = draw.draw(st.lists(image, max_size=4))
    line = draw.draw(st.lists(words(), min_size=1, max_size=4))
    members = draw.draw(st.one_of(st.none(), mutated()))
    form = draw.draw(FORMS)

    def check(folder: Path) -> None:
        for split, label in itertools.product(("train", "val"), range(len(classes))):
            _put(folder / "source" / split / classes[label] / "0.png", "image", label)
        for split, label, name, ending, what in images:
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                _put(folder / "source" / split / classes[label] / f"{name}{ending}", what, label)
        (folder / "names.txt").write_bytes(b"\n".join(map(os.fsencode, reversed(classes))))
        (folder / "names.json").write_text("[1")
        if members is not None:
            with suppress(ValueError, UnicodeError):
                (folder / "out").mkdir()
                (folder / "out" / "x-train-0000.tar").write_bytes(pack(members, form))
        for name, arguments in line:
            typed(folder, name, arguments)
            all_have_their_labels(folder, classes)

    in_a_folder(check)


def _put(path: Path, what: str, label: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), STEP * label, np.uint8)).save(file, "PNG")
    image = file.getvalue()
    path.write_bytes({"image": image, "empty": b"", "page": b"<html>", "cut": image[:40]}[what])


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(function: Callable[..., object], tasks: list[object], _: int) -> object:
        return workers.run(function, tasks, 0)

    for module in (write, tars, verify):
        monkeypatch.setattr(module, "run", here)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setenv("TQDM_DISABLE", "1")


def test_whatever_is_typed() -> None:
    run(odd_commands, seed=0, examples=60)


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_S + 600)
def test_ten_minutes_of_it() -> None:
    end, seed = time.monotonic() + SOAK_S, int(time.time())
    for count in itertools.count(1):
        run(odd_commands, seed + count, examples=100)
        if time.monotonic() > end:
            print(f"{100 * count:,} command lines drawn, seeds from {seed + 1} on")
            return
