import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folder_digest import digest
from PIL import Image

from shards import write
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagefolder import imagefolder

ROOT = Path(__file__).parents[3]
DATA = ("*.tar", "index-*", "_info.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in DATA for path in folder.glob(pattern)}


def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "shards.write", *map(str, arguments)]
    return subprocess.Popen(line, cwd=ROOT, text=True, stdout=-1, stderr=-1, **options)


def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
    process = command(*arguments, **options)
    out, err = process.communicate()
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images enough for 60 shards of 5."""
    source = tmp_path_factory.mktemp("source") / "many"
    for split, count in (("train", 140), ("val", 10)):
        for name in ("a", "b"):
            folder = source / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                values = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(values).save(folder / f"{number}.png")
    return source


@pytest.fixture(scope="module")
def undisturbed_folder(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of `many`; not to be changed."""
    out = tmp_path_factory.mktemp("shards") / "undisturbed"
    write.write(imagefolder(many), out, shard_samples=5, seed=3, workers=2)
    return out


@pytest.fixture(scope="module")
def undisturbed(undisturbed_folder: Path) -> dict[str, bytes]:
    """What is in those shards and their indexes."""
    return contents(undisturbed_folder)


def test_names_keys_and_contents(image_folder: Path, pets_shards: Path) -> None:
    names = ["pets-train-0000.tar", "pets-train-0001.tar", "pets-train-0002.tar", "pets-val-0000.tar"]
    assert sorted(path.name for path in pets_shards.glob("*.tar")) == names
    reader = Reader(Index.load(pets_shards, "train"))
    files = sorted((image_folder / "train" / "cat").iterdir()) + sorted(
        (image_folder / "train" / "dog").iterdir()
    )
    found = {reader.key(sample): reader.read(sample) for sample in range(11)}
    for number, file in enumerate(files):
        data, label = found[f"train-{number:07d}-{file.stem.replace('.', '_')}"]
        assert data == file.read_bytes()
        assert label == ("cat", "dog").index(file.parent.name)


def test_seed_mixes_the_classes(many: Path, undisturbed_folder: Path, tmp_path: Path) -> None:
    labels = Index.load(undisturbed_folder, "train").labels
    assert 90 < (np.diff(labels) != 0).sum() < 190  # 140 expected of mixed classes, 1 of sorted ones
    write.write(imagefolder(many), tmp_path / "other", shard_samples=5, seed=4, workers=0)
    other = tmp_path / "other" / "many-train-0000.tar"
    assert other.read_bytes() != (undisturbed_folder / other.name).read_bytes()


def test_bytes_do_not_depend_on_processes(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    write.write(imagefolder(many), tmp_path / "again", shard_samples=5, seed=3, workers=1)
    assert contents(tmp_path / "again") == undisturbed
    assert len(undisturbed) == 60 + 4 + 1


@pytest.mark.parametrize("after", [0, 1, 20, 59])
def test_goes_on_where_it_was_killed(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path, after: int
) -> None:
    out = tmp_path / "killed"
    arguments = ("imagefolder", many, out, "--shard-samples", 5, "--seed", 3, "--workers", 2)
    process = command(*arguments)
    wait_for(lambda: (out / "write.jsonl").exists() and len(list(out.glob("*.tar"))) >= after)
    process.kill()
    process.communicate()  # ends when the workers, which hold the pipes too, have ended
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    journaled = (out / "write.jsonl").read_bytes().count(b"\n") - 1  # the first line is the plan
    assert all(path.read_bytes() == undisturbed[path.name] for path in there)
    code, output, errors = run(*arguments)
    assert (code, errors) == (0, "")
    assert contents(out) == undisturbed
    assert not list(out.glob("*.tmp"))
    kept = sum(path.stat().st_mtime_ns == modified for path, modified in there.items())
    assert kept == max(journaled, 0)
    assert f"{kept} of 60 shards were there already" in output or kept == 0


def obey_ctrl_c() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and so may these tests be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def has_shards(folder: Path) -> bool:
    return len(list(folder.glob("*.tar"))) >= 3


def test_stops_on_ctrl_c(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    for number in range(5):  # on a busy machine the write may be over before the signal is sent
        out = tmp_path / f"stopped{number}"
        arguments = ("imagefolder", many, out, "--shard-samples", 5, "--seed", 3, "--workers", 2)
        process = command(*arguments, start_new_session=True, preexec_fn=obey_ctrl_c)
        wait_for(partial(has_shards, out))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate()
        if process.returncode != 0:
            break
    assert process.returncode == 130
    assert errors.endswith("shards.write: stopped by Ctrl-C. Typed again, the command finishes the work.\n")
    assert "Traceback" not in errors
    assert not list(out.glob("*.tmp"))
    assert run(*arguments)[0] == 0
    assert contents(out) == undisturbed


def test_kept_shards_are_checked(
    many: Path, undisturbed_folder: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(undisturbed_folder, out)
    for name, damage in {
        "many-train-0003.tar": lambda data: data[:1000] + b"x" + data[1001:],
        "many-train-0004.tar": lambda data: data[:-1],
        "many-train-0005.tar": lambda data: bytes(len(data)),
    }.items():
        (out / name).write_bytes(damage(undisturbed[name]))
    (out / "many-val-0000.tar").unlink()
    with (out / "write.jsonl").open("ab") as journal:
        journal.write(b'{"file": "many-tr')  # killed while it wrote this line
    write.write(imagefolder(many), out, shard_samples=5, seed=3, workers=0)
    assert contents(out) == undisturbed


def test_refuses_shards_of_another_plan(image_folder: Path, pets_shards: Path) -> None:
    before = contents(pets_shards)
    with pytest.raises(
        ShardError, match="written with seed 0, now it would be with seed 1: write into another"
    ):
        write.write(imagefolder(image_folder), pets_shards, shard_samples=4, seed=1, workers=0)
    (image_folder / "train" / "cat" / "cat.0.JPEG").unlink()
    with pytest.raises(ShardError, match=r"train_samples 11, train_identity .* train_samples 10"):
        write.write(imagefolder(image_folder), pets_shards, shard_samples=4, seed=0, workers=0)
    assert contents(pets_shards) == before


def test_refuses_shards_of_others(image_folder: Path, pets_shards: Path) -> None:
    (pets_shards / "write.jsonl").unlink()
    with pytest.raises(
        ShardError, match="already holds 4 tar files that this command didn't write, say pets-train"
    ):
        write.write(imagefolder(image_folder), pets_shards, shard_samples=4, seed=0, workers=0)
    assert not (pets_shards / "write.jsonl").exists()


def test_refuses_a_second_writer(image_folder: Path, pets_shards: Path) -> None:
    with (pets_shards / "write.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ShardError, match="another writer is at work on it"):
            write.write(imagefolder(image_folder), pets_shards, shard_samples=4, seed=0, workers=0)


def test_damaged_journal(image_folder: Path, pets_shards: Path) -> None:
    (pets_shards / "write.jsonl").write_text('{}\n{"file": 1}\n')
    with pytest.raises(ShardError, match=r"write\.jsonl: damaged .*: remove the folder and write it again"):
        write.write(imagefolder(image_folder), pets_shards, shard_samples=4, seed=0, workers=0)


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda _: b"no image", lambda _: b""])
def test_an_image_that_is_none(image_folder: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    bad = image_folder / "train" / "dog" / "dog.2.JPEG"
    bad.write_bytes(damage(bad.read_bytes()))
    out = tmp_path / "out"
    code, _, errors = run("imagefolder", image_folder, out, "--shard-samples", 2)
    assert code == 1
    assert errors.startswith(f"shards.write: {bad}: not a readable image (")
    assert errors.endswith("): replace it, or leave it out with --skip-bad\n")
    assert errors.count("\n") == 1
    assert not list(out.glob("*.tmp"))
    assert not list(out.glob("index-*"))
    Image.new("RGB", (4, 4)).save(bad)
    assert run("imagefolder", image_folder, out, "--shard-samples", 2)[0] == 0


def test_full_disk(image_folder: Path, tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    out = tmp_path / "out"
    code, _, errors = run("imagefolder", image_folder, out, preexec_fn=no_room)
    assert code == 1
    assert errors.startswith("shards.write: ")
    assert "File too large" in errors
    assert errors.count("\n") == 1
    assert not list(out.glob("*.t*"))


def test_folder_that_can_not_be_made(image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run("imagefolder", image_folder, tmp_path / "file" / "out")
    assert (code, errors) == (1, f"shards.write: {tmp_path}/file/out: Not a directory\n")


def test_missing_source(tmp_path: Path) -> None:
    code, _, errors = run("imagefolder", tmp_path, tmp_path / "out")
    assert code == 1
    remedy = f"put the images into {tmp_path}/{{train,val}}/<class>/"
    assert errors == f"shards.write: {tmp_path}/train: no such folder: {remedy}\n"
    assert not (tmp_path / "out").exists()


def test_a_worker_that_is_killed(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "short of memory"
    arguments = ("imagefolder", many, out, "--shard-samples", 5, "--seed", 3, "--workers", 2)
    process = command(*arguments)
    wait_for(lambda: len(list(out.glob("*.tar"))) >= 3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "a worker process was killed, perhaps for want of memory: try fewer --workers" in errors
    assert run(*arguments)[0] == 0
    assert contents(out) == undisturbed


def test_help_teaches() -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in ("imagefolder", "imagenet", "cifar10", "fashion_mnist", "example:", "the command goes on"):
        assert word in out
    code, out, _ = run("fashion_mnist", "--help")
    assert code == 0
    for word in ("--shard-samples N", "--workers N", "--seed N", "--size N", "Debian's package"):
        assert word in out
    assert run("imagefolder", "a", "b", "--workers", "0")[0] == 2


def test_indexes_of_other_shards_are_not_replaced(
    image_folder: Path, tmp_path: Path, pets_shards: Path
) -> None:
    """Of shards that lie elsewhere, there are but the indexes."""
    for path in [*pets_shards.glob("*.tar"), pets_shards / "write.jsonl"]:
        path.unlink()
    before = digest(pets_shards)
    with pytest.raises(ShardError, match=r"already holds index-train.json, index-val.json of other shards"):
        write.write(imagefolder(image_folder), pets_shards, shard_samples=2, seed=1, workers=0)
    assert digest(pets_shards) == before


def test_shards_lie_beside_their_images(image_folder: Path, tmp_path: Path) -> None:
    for out in (image_folder, image_folder / "out", image_folder / "train" / "cat" / "out"):
        with pytest.raises(ShardError, match=r"lies within .*, all of which is read: write beside it"):
            write.main(["imagefolder", str(image_folder), str(out), "--workers=1"])
        assert not list(out.glob("*.tar"))


@pytest.mark.parametrize(
    ("quality", "said"), [("0", "must be a whole"), ("101", "from 1 to 100"), ("9", None)]
)
def test_quality_is_of_images_that_are_scaled(
    quality: str, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["imagefolder", str(tmp_path), str(tmp_path / "out"), "--quality", quality]
    if said is None:
        with pytest.raises(ShardError, match="--longest N"):
            write.main(words)
        return
    with pytest.raises(SystemExit):
        write.main(words)
    assert said in capsys.readouterr().err
