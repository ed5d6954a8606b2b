"""What messages have in common: the nearest word, and whether making room helps."""

from __future__ import annotations

import errno

from shards.errors import did_you_mean, is_full


def test_the_nearest_word() -> None:
    assert did_you_mean("nativ", ["native", "csr"]) == "; did you mean native?"
    assert did_you_mean("x", ["native", "csr"]) == ""


def test_only_what_is_full_asks_for_room() -> None:
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(OSError(errno.EACCES, ""))
