"""Every remedy that a message names leads on: it is carried out here as it is said."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from shards import index, info, shard, verify, workers, write
from shards.errors import ShardError
from shards.index import Index, tars
from shards.journal import NAME
from shards.reader import Reader


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (write, tars):
        monkeypatch.setattr(module, "run", lambda function, tasks, _: workers.run(function, tasks, 0))


def written(source: Path, out: Path, *options: str) -> None:
    write.main(["imagefolder", str(source), str(out), "--shard-samples=4", "--workers=1", *options])


def indexed(line: str) -> None:
    """Carry out the command `python -m shards.index ...` that ends a message, as a shell would."""
    index.main([*shlex.split(line.partition("python -m shards.index ")[2]), "--workers=1"])


def faults(folder: Path) -> list[verify.Fault]:
    return verify.verify(folder, quick=False, workers=0)[0]


def total(folder: Path) -> int:
    return sum(Index.load(folder, split).num_samples for split in ("train", "val"))


def spoil(source: Path) -> list[Path]:
    bad = [source / place for place in ("train/cat/cat.2.JPEG", "train/dog/dog.5.png", "val/dog/dog.0.JPEG")]
    bad[0].write_bytes(b"")
    bad[1].write_bytes(bad[1].read_bytes()[:60])
    bad[2].write_text("<html>404</html>")
    return bad


def test_bad_images_are_all_named_in_one_go_and_can_be_replaced(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = shutil.copytree(image_folder, tmp_path / "good" / "pets")
    bad, out = spoil(image_folder), tmp_path / "out"
    with pytest.raises(
        ShardError, match=r"^3 images can't be read: replace them, or leave them out with --skip-bad"
    ):
        written(image_folder, out)
    said = capsys.readouterr().err
    assert all(f"{path}: not a readable image (" in said for path in bad)
    assert not list(out.glob("index-*"))
    for path in bad:
        shutil.copy(good / path.relative_to(image_folder), path)
    written(image_folder, out)
    assert total(out) == 15


def test_bad_images_can_be_left_out_and_are_counted(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, out = spoil(image_folder), tmp_path / "out"
    with pytest.raises(ShardError, match="leave them out with --skip-bad"):
        written(image_folder, out)
    for _ in range(2):  # made, and kept
        capsys.readouterr()
        written(image_folder, out, "--skip-bad")
        assert "not taken: 3 named --skip-bad" in capsys.readouterr().out
        assert total(out) == 15 - 3
        lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()[1:]]
        named = {name.partition(":")[0] for line in lines for name in line.get("bad", ())}
        assert named == set(map(str, bad))
    assert not faults(out)
    with pytest.raises(ShardError, match="3 images can't be read"):
        written(image_folder, out)  # nobody says that they may be left out


def test_a_shard_of_bad_images_alone(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "train" / "cat" / "cat.2.JPEG").write_bytes(b"")
    out = tmp_path / "out"
    written(image_folder, out, "--skip-bad", "--shard-samples=1")
    index.build(out, {}, workers=0)
    assert not faults(out)
    reader = Reader(Index.load(out, "train"))
    assert sorted(reader.read(n).label for n in range(10)) == [0] * 4 + [1] * 6


def test_a_file_that_was_replaced_under_its_name_is_written_again(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    written(image_folder, out)
    Image.new("RGB", (5, 5), (1, 2, 3)).save(image_folder / "train" / "cat" / "cat.1.png")
    capsys.readouterr()
    written(image_folder, out)
    assert "3 of 4 shards were there already, whole" in capsys.readouterr().out
    written(image_folder, fresh)
    assert {p.name: p.read_bytes() for p in out.glob("*.tar")} == {
        p.name: p.read_bytes() for p in fresh.glob("*.tar")
    }
    assert Index.load(out, "train").fingerprint == Index.load(fresh, "train").fingerprint


def test_a_journal_that_knows_no_sources_is_still_right(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    written(image_folder, out)
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    for line in lines[1:]:
        line.pop("sources")
    (out / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    written(image_folder, out)
    assert "4 of 4 shards were there already, whole" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["index-train.json", "index-train.npy"])
@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-5] + b"12345", lambda _: b"{}"])
def test_an_index_is_made_again(name: str, damage: Callable[[bytes], bytes], pets_shards: Path) -> None:
    whole = (pets_shards / name).read_bytes()
    (pets_shards / name).write_bytes(damage(whole))
    with pytest.raises(ShardError, match="make it again with") as caught:
        Index.load(pets_shards, "train")
    indexed(str(caught.value))
    assert Index.load(pets_shards, "train").num_samples == 11


def test_an_index_of_another_split_or_version(pets_shards: Path) -> None:
    path = pets_shards / "index-train.json"
    for change in ({"version": 99}, {"split": "val"}, {"fingerprint": "00"}):
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(ShardError, match="make it again with") as caught:
            Index.load(pets_shards, "train")
        indexed(str(caught.value))
        assert Index.load(pets_shards, "train").num_samples == 11


def test_an_index_of_shards_that_lie_elsewhere(pets_shards: Path) -> None:
    for path in pets_shards.glob("*.tar"):
        path.unlink()
    (pets_shards / "index-train.npy").write_bytes(b"")
    with pytest.raises(ShardError, match=r"remove index-train\.npy, and it is fetched from data\.url again"):
        Index.record(pets_shards, "train")


def test_a_shard_is_written_again(image_folder: Path, pets_shards: Path) -> None:
    first, second, third, _ = sorted(pets_shards.glob("*.tar"))
    before = Index.load(pets_shards, "train").fingerprint
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    data = bytearray(third.read_bytes())
    data[700] ^= 1
    third.write_bytes(data)
    assert [one.file for one in faults(pets_shards)] == [path.name for path in (first, second, third)]
    written(image_folder, pets_shards)
    assert not faults(pets_shards)
    assert Index.load(pets_shards, "train").fingerprint == before


def test_a_shard_is_meant_to_be_another(pets_shards: Path) -> None:
    others = [shard.Entry(f"other{n}", "ppm", b"P6 1 1 255\nrgb" * 999, 0) for n in range(4)]
    shard.write(pets_shards / "pets-train-0000.tar", others)
    with pytest.raises(ShardError, match=r"has .* bytes, the index says .* if it is meant to be") as caught:
        Index.load(pets_shards, "train")
    with pytest.raises(ShardError, match=r"or if it is meant to be so, remove .* and type this again"):
        indexed(str(caught.value))
    (pets_shards / info.NAME).unlink()
    indexed(str(caught.value))
    assert Index.load(pets_shards, "train").shard_lengths == (4, 4, 4)


def test_what_was_left_out_for_damage_comes_back_with_the_same_index(pets_shards: Path) -> None:
    path = pets_shards / "pets-train-0001.tar"
    before, whole = Index.load(pets_shards, "train"), path.read_bytes()
    path.write_bytes(whole[:-1])
    _, rest = verify.verify(pets_shards, quick=False, workers=0)
    assert verify.repair(pets_shards, rest) == [path.name]
    path.write_bytes(whole)
    index.build(pets_shards, {}, workers=0)
    again = Index.load(pets_shards, "train")
    assert (again.fingerprint, again.classes) == (before.fingerprint, before.classes)


@pytest.mark.parametrize("name", ["other.tar", "x.tar.gz", "boxes [1].csv", "caf\udce9.csv", "sub/x"])
def test_a_file_that_no_index_knows_of(name: str, pets_shards: Path) -> None:
    path = pets_shards / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(pets_shards / "pets-val-0000.tar", path)
    (fault,) = faults(pets_shards)
    line = re.search(r"without it: (python -m shards\.index .*? --skip [^;]*)", fault.what)
    assert line is not None
    indexed(line[1])
    assert not faults(pets_shards)
    assert total(pets_shards) == 15


def test_a_shard_that_no_index_knows_of_is_taken_in(pets_shards: Path) -> None:
    before = Index.load(pets_shards, "train").fingerprint
    _, whole = verify.verify(pets_shards, quick=False, workers=0)
    del whole["pets-train-0002.tar"]
    verify.repair(pets_shards, whole)
    (fault,) = faults(pets_shards)
    indexed(fault.what.partition("; or with it: ")[2])
    assert Index.load(pets_shards, "train").fingerprint == before


PACKERS = {
    "gz": ("gzip", "gunzip"),
    "xz": ("xz", "unxz"),
    "bz2": ("bzip2", "bunzip2"),
    "zst": ("zstd", "unzstd"),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_shard_that_is_compressed_is_unpacked(kind: str, pets_shards: Path) -> None:
    pack, unpack = PACKERS[kind]
    if not (shutil.which(pack) and shutil.which(unpack)):
        pytest.skip(f"{pack} isn't installed")
    path = pets_shards / "pets-train-0000.tar"
    packed = subprocess.run([pack, "-c"], input=path.read_bytes(), capture_output=True, check=True).stdout
    path.write_bytes(packed)
    (fault,) = faults(pets_shards)
    said = re.search(r"a name that ends in (\.tar\.\w+), then unpack it with (\w+)", fault.what)
    assert said is not None
    path.rename(path.with_suffix(said[1]))
    subprocess.run([said[2], "-q" if kind == "zst" else "-f", path.with_suffix(said[1])], check=True)
    path.with_suffix(said[1]).unlink(missing_ok=True)  # zstd keeps it
    assert not faults(pets_shards)


def test_archives_that_were_joined(pets_shards: Path, tmp_path: Path) -> None:
    first, second = sorted(pets_shards.glob("*-train-*.tar"))[1:]
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(ShardError, match=r"unpack with tar -xif, pack again"):
        index.build(pets_shards, {}, workers=0)
    (tmp_path / "files").mkdir()
    subprocess.run(["tar", "-xif", first], cwd=tmp_path / "files", check=True)
    names = sorted(path.name for path in (tmp_path / "files").iterdir())
    subprocess.run(["tar", "-cf", first, *names], cwd=tmp_path / "files", check=True)
    second.unlink()
    (pets_shards / info.NAME).unlink()
    index.build(pets_shards, {"train": "*-train-*.tar", "val": "*-val-*.tar"}, workers=0)
    assert Index.load(pets_shards, "train").shard_lengths == (3, 8)


def test_info_that_speaks_of_other_places(pets_shards: Path) -> None:
    path = pets_shards / info.NAME
    said = json.loads(path.read_text())
    said["splits"]["val"]["filenames"] = ["sub/pets-val-0000.tar"]
    path.write_text(json.dumps(said))
    with pytest.raises(ShardError, match="val and validation name other files: repair or remove it"):
        index.build(pets_shards, {}, workers=0)
    outside = f"../{pets_shards.name}/pets-val-0000.tar"
    for name in ("val", "validation"):
        said["splits"][name]["filenames"] = [outside]
    path.write_text(json.dumps(said))
    with pytest.raises(ShardError, match="move them there, and remove this file"):
        index.build(pets_shards, {}, workers=0)
    path.unlink()
    index.build(pets_shards, {}, workers=0)
    assert total(pets_shards) == 15


def test_info_that_speaks_of_folders_below(pets_shards: Path) -> None:
    path = pets_shards / info.NAME
    said = json.loads(path.read_text())
    for name in ("val", "validation"):
        said["splits"][name]["filenames"] = ["sub/pets-val-0000.tar"]
    path.write_text(json.dumps(said))
    with pytest.raises(ShardError, match=r"missing, though _info\.json names it: copy it again"):
        index.build(pets_shards, {}, workers=0)
    (pets_shards / "sub").mkdir()
    (pets_shards / "pets-val-0000.tar").rename(pets_shards / "sub" / "pets-val-0000.tar")
    index.build(pets_shards, {}, workers=0)
    assert total(pets_shards) == 15
    assert not faults(pets_shards)


def test_info_of_a_shard_that_is_gone(pets_shards: Path) -> None:
    (pets_shards / "pets-train-0001.tar").unlink()
    with pytest.raises(ShardError, match=r"missing, though _info\.json names it: copy it again, or remove"):
        index.build(pets_shards, {}, workers=0)
    (pets_shards / info.NAME).unlink()
    with pytest.raises(ShardError, match=r"leave them out with --skip pets-train-0001\.tar"):
        index.build(pets_shards, {}, workers=0)
    index.main([str(pets_shards), "--skip=pets-train-0001.tar", "--workers=1"])
    assert total(pets_shards) == 11
    assert not faults(pets_shards)


def test_a_folder_of_others(image_folder: Path, pets_shards: Path) -> None:
    (pets_shards / NAME).unlink()
    with pytest.raises(ShardError, match="or index what is there with: ") as caught:
        written(image_folder, pets_shards)
    indexed(str(caught.value))
    (pets_shards / NAME).write_text('{}\n{"file": 1}\n')
    with pytest.raises(ShardError, match="remove the folder and write it again"):
        written(image_folder, pets_shards)
    shutil.rmtree(pets_shards)
    written(image_folder, pets_shards)
    assert total(pets_shards) == 15


def test_names_of_classes(pets_shards: Path, tmp_path: Path) -> None:
    path = pets_shards / "index-val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["dog", "cat"]}))
    with pytest.raises(ShardError, match=r"the same classes in another order.*--classes FILE"):
        index.build(pets_shards, {}, workers=0)
    (tmp_path / "names").write_text("cat\ndog\n")
    index.main([str(pets_shards), f"--classes={tmp_path / 'names'}", "--workers=1"])
    assert Index.load(pets_shards, "val").classes == ("cat", "dog")


def bare(folder: Path, images: dict[str, bytes]) -> None:
    """Make indexed shards of images that nobody has looked at."""
    folder.mkdir()
    for split in ("train", "val"):
        entries = [shard.Entry(key, "png", data, 0) for key, data in images.items()]
        shard.write(
            folder / f"x-{split}-0000.tar", [one._replace(key=f"{split}-{one.key}") for one in entries]
        )
    index.build(folder, {}, workers=0)


def test_images_of_a_shard_that_are_none_are_left_out(image_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    good = (image_folder / "train" / "cat" / "cat.1.png").read_bytes()
    bare(folder, {"a": good, "[b]": b"<html>", "c": b"", "d": good, "e": good[:-30]})
    found = faults(folder)
    assert [(one.file, one.key) for one in found] == [
        (f"x-{split}-0000.tar", f"{split}-{key}") for split in ("train", "val") for key in ("[b]", "c", "e")
    ]
    assert "not a readable image (empty)" in found[1].what
    assert not verify.verify(folder, quick=True, workers=0)[0]
    _, whole = verify.verify(folder, quick=False, workers=0)
    assert not verify.repair(folder, whole)  # their shards are what was indexed
    while left := faults(folder):
        indexed(left[0].what)
        assert len(faults(folder)) == len(left) - 1
    assert total(folder) == 4


def test_an_image_of_too_many_pixels(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # refuses 3,000
    Image.new("RGB", (90, 40)).save(image_folder / "train" / "cat" / "cat.1.png")
    with pytest.raises(ShardError, match="3600 pixels, above 3000: --max-pixels N takes it"):
        written(image_folder, tmp_path / "as they are")
    with pytest.raises(ShardError, match="scale down with --longest N, too"):
        written(image_folder, tmp_path / "as they are", "--max-pixels=4000")
    written(image_folder, tmp_path / "out", "--max-pixels=4000", "--longest=20")
    assert total(tmp_path / "out") == 15
    assert not faults(tmp_path / "out")


def test_a_set_that_the_disk_has_no_room_for(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(ShardError, match="make room, or write to another disk"):
            written(image_folder, tmp_path / "out")
    written(image_folder, tmp_path / "out")
    assert total(tmp_path / "out") == 15
