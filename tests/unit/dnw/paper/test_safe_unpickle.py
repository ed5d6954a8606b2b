"""Files of torch.save are read, and nothing in them is run."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from paper_checkpoint import FORMATS, published

from dnw.paper import safe_unpickle
from dnw.paper.safe_unpickle import Inert, UnsafeFileError


@FORMATS
def test_objects_of_unknown_classes_are_inert(tmp_path: Path, is_zip: bool) -> None:
    content = safe_unpickle.read(published(tmp_path / "a.pt", is_zip))
    assert isinstance(content["meters"]["top1"], Inert)
    assert vars(content["meters"]["top1"]) == {}
    assert content["best_val"] == 80.9


def test_the_files_of_these_tests_have_both_formats(tmp_path: Path) -> None:
    files = [published(tmp_path / f"{is_zip}.pt", is_zip) for is_zip in (True, False)]
    assert [zipfile.is_zipfile(file) for file in files] == [True, False]


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", b"PK\x03\x04 cut off", b"\x80\x02}q\x00.", b"\x80\x04\x95."]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UnsafeFileError, match=r"a.pt: no file of torch.save that can be read safely \("):
        safe_unpickle.read(tmp_path / "a.pt")


@FORMATS
def test_a_file_that_was_cut_is_refused(tmp_path: Path, is_zip: bool) -> None:
    file = published(tmp_path / "a.pt", is_zip)
    whole = file.read_bytes()
    for size in (len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:size])
        with pytest.raises(UnsafeFileError):
            safe_unpickle.read(file)
