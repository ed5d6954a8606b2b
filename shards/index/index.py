"""The index of a split, as it lies beside its shards: written, read, and never taken for another one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from shards import info
from shards.atomic import replacing
from shards.errors import ShardError, remake
from shards.files.regular_file import descriptor_of, read_json
from shards.ignored import Ignored
from shards.remote import Store
from shards.shard import MEMBER, Members, Shard
from shards.split_files import check_sizes, tars_in, why_no_index

VERSION = 2
_CHECKED_AT_ONCE = 2**22  # rows; those of a larger split are checked shard by shard, as they are read


@dataclass(frozen=True)
class Index:
    """The index of one split. It can be pickled at little cost: the rows stay in their file.

    Attributes:
        folder: where shards and index lie.
        split: "train" or "val".
        shards: the shards in the order in which samples are numbered.
        classes: the name of each class, if known.
        num_classes: how many classes there are.
        fingerprint: SHA-256 over names, lengths and digests of the shards: equal where the samples are equal.
        row_sums: zlib.crc32 of each shard's rows of the index.
        store: where the shards are, if not in the folder.
        skip: patterns of what was left out; None where an earlier version didn't say.
        same_keys: how many keys stand in two of its shards, which was allowed.
    """

    folder: Path
    split: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...] | None
    num_classes: int
    fingerprint: str
    row_sums: tuple[int, ...]
    store: Store | None = None
    skip: tuple[str, ...] | None = ()
    same_keys: int = 0

    @classmethod
    def load(cls, folder: Path | str, split: str, store: Store | None = None) -> Index:
        """Read an index and check that its shards are there, each of the size it had (not its content).

        With a store only the index is in the folder, and each shard is checked when it is fetched.

        Args:
            folder: of the indexes.
            split: such as train.
            store: from which shards are fetched; None: they are in the folder.

        Raises:
            ShardError: no folder, no shards, no index, a damaged index, one of another version, or a shard
                that is missing or has another size.
        """
        record = cls.record(Path(folder), split)
        if store is not None:
            return dataclasses.replace(record, store=store)
        check_sizes(record.folder, record.shards)
        return record

    @classmethod
    def record(cls, folder: Path, split: str) -> Index:
        """Read an index, and look at no shard.

        Raises:
            ShardError: no folder, no shards, no index, a damaged index, one of another version.
        """
        record = _read(folder, split)
        record._check_rows_file()
        if record.num_samples <= _CHECKED_AT_ONCE:
            for shard in range(len(record.shards)):
                record.check_rows(shard)
        return record

    def check_rows(self, shard: int) -> None:
        """Compare a shard's rows with what was written, and classes with their number. Raises ShardError."""
        start = self.starts[shard]
        rows = self.members[start : start + self.shard_lengths[shard]]
        if zlib.crc32(rows.tobytes()) != self.row_sums[shard]:
            self._refuse_rows()
        labels = rows["label"]
        for row in np.flatnonzero((labels < 0) | (labels >= self.num_classes))[:1]:
            raise ShardError(
                f"{self.paths[shard]}: the sample whose image is at byte {rows[row]['offset']} has class "
                f"{labels[row]}, the index knows 0 to {self.num_classes - 1}: "
                f"{_anew(_record_file(self.folder, self.split))}"
            )

    def _check_rows_file(self) -> None:
        rows = _rows_file(self.folder, self.split)
        if rows.exists():
            os.close(descriptor_of(rows))  # or it is told why it can't be opened
        try:
            fits = self.members.dtype == MEMBER and self.members.shape == (self.num_samples,)
        except Exception:  # its header is parsed as Python: damage raises almost anything
            fits = False
        if not fits:
            self._refuse_rows()

    def _refuse_rows(self) -> NoReturn:
        rows = _rows_file(self.folder, self.split)
        raise ShardError(f"{rows}: missing or damaged: {_anew(rows)}")

    @functools.cached_property
    def members(self) -> Members:
        """One row of MEMBER for each sample, [num_samples], mapped from the file, read-only."""
        return np.asarray(np.load(_rows_file(self.folder, self.split), mmap_mode="r"))

    @functools.cached_property
    def num_samples(self) -> int:
        """How many samples the split has."""
        return sum(self.shard_lengths)

    @functools.cached_property
    def shard_lengths(self) -> tuple[int, ...]:
        """How many samples each shard has."""
        return tuple(shard.samples for shard in self.shards)

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The number of the first sample of each shard."""
        return tuple(itertools.accumulate(self.shard_lengths, initial=0))[:-1]

    @functools.cached_property
    def paths(self) -> tuple[Path, ...]:
        """The file of each shard."""
        return tuple(self.folder / shard.file for shard in self.shards)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where the image of each sample begins within its shard, bytes, int64[num_samples]."""
        return self.members["offset"]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """The size of each image as stored, bytes, int32[num_samples]."""
        return self.members["size"]

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """The class of each sample, int32[num_samples]."""
        return self.members["label"]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def fingerprint(shards: Sequence[Shard]) -> str:
    """SHA-256, in hex, over everything that defines the samples of a split."""
    facts = [[shard.file, shard.samples, shard.sha256] for shard in shards]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


def save(
    folder: Path,
    split: str,
    shards: Sequence[Shard],
    members: Sequence[Members],
    *,
    classes: Sequence[str] | None,
    num_classes: int,
    ignored: Ignored | None = None,
    same_keys: int = 0,
) -> Index:
    """Write the index of a split.

    Args:
        folder: of the shards.
        split: train or val.
        shards: what is known of each file, in order.
        members: the rows of each of them.
        classes: names, if they are known.
        num_classes: how many there are; labels are below.
        ignored: what of the tar files is not taken.
        same_keys: as in an Index.

    Raises:
        ShardError: the split has no samples, or a class that is none.
        OSError: the folder is not writable or full.
    """
    rows = _rows(folder, split, members, num_classes)
    record = {
        "version": VERSION,
        "split": split,
        "fingerprint": fingerprint(shards),
        "row_sums": [zlib.crc32(one.tobytes()) for one in members],
        "num_classes": num_classes,
        "classes": None if classes is None else list(classes),
        "skip": list(ignored.skip) if ignored else [],
        "ignored": ignored.record() if ignored else {},
        **({"same_keys": same_keys} if same_keys else {}),  # others stay as they were
        "shards": [dataclasses.asdict(shard) for shard in shards],
    }
    # both are on the disk before one takes its name: an index that was there outlives a full disk
    with replacing(_record_file(folder, split)) as file, replacing(_rows_file(folder, split)) as file_of_rows:
        file.write(json.dumps(record, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
        np.lib.format.write_array_header_1_0(file_of_rows, np.lib.format.header_data_from_array_1_0(rows))
        file_of_rows.write(rows.data)  # np.save doesn't say why it fails
    return Index.load(folder, split)


def _rows(folder: Path, split: str, members: Sequence[Members], num_classes: int) -> Members:
    """Return the rows of all shards. Raises ShardError: there are none, or one of a class that is none."""
    rows = np.concatenate([np.empty(0, MEMBER), *members])
    if len(rows) == 0:
        raise ShardError(f"{folder}: split {split!r} has no samples: copy or write its shards again")
    if (top := rows["label"].max()) >= num_classes:
        raise ShardError(
            f"{folder}: split {split!r} has a sample of class {top}, but there are only {num_classes} classes"
        )
    return rows


def save_info(indexes: Sequence[Index]) -> None:
    """Write `_info.json`, from which timm reads the splits of a folder; what others put there is kept.

    Raises:
        OSError: the folder is not writable or full.
    """
    info.renew(indexes[0].folder, {index.split: index.shards for index in indexes})


def _read(folder: Path, split: str) -> Index:
    path = _record_file(folder, split)
    if not path.exists():
        raise ShardError(why_no_index(folder, split))
    try:
        record = read_json(path)
        version = record["version"]
        if version == VERSION:
            shards = tuple(Shard(**shard) for shard in record["shards"])
            _check_split(path, split, record["split"])
            classes, skip = _texts(record["classes"]), _texts(record.get("skip"))
            row_sums = tuple(operator.index(one) for one, _ in zip(record["row_sums"], shards, strict=True))
            facts = operator.index(record["num_classes"]), record["fingerprint"], row_sums
            if classes is not None and len(classes) != facts[0]:
                raise ValueError(f"{len(classes)} names of {facts[0]} classes")
            same_keys = operator.index(record.get("same_keys", 0))
            index = Index(folder, split, shards, classes, *facts, skip=skip, same_keys=same_keys)
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: damaged ({error}): {_anew(path)}") from error
    if version != VERSION:
        raise ShardError(
            f"{path}: has version {version!r}, this program reads version {VERSION}: {_anew(path)}"
        )
    if fingerprint(shards) != index.fingerprint:
        raise ShardError(f"{path}: damaged (fingerprint): {_anew(path)}")
    return index


def _texts(values: object) -> tuple[str, ...] | None:
    if values is not None and not (isinstance(values, list) and all(type(one) is str for one in values)):
        raise TypeError(f"no list of texts: {str(values)[:20]}")
    return None if values is None else tuple(values)


def _anew(path: Path) -> str:
    """Return what brings an index back, in words."""
    if not tars_in(path.parent):  # they lie elsewhere
        return f"remove {path.name}, and it is fetched from data.url again"
    return f"make it again with: {remake(path.parent)}"


def _check_split(path: Path, split: str, said: str) -> None:
    """Refuse the index of another split: images to validate with would be trained on."""
    if said != split:
        raise ShardError(
            f"{path}: is the index of split {said!r}: copy the right one there, or {_anew(path)}"
        )


def _record_file(folder: Path, split: str) -> Path:
    return folder / f"index-{split}.json"


def _rows_file(folder: Path, split: str) -> Path:
    return folder / f"index-{split}.npy"
