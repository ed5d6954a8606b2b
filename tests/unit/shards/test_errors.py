"""Addresses lose what allows to read them before they are shown."""

from __future__ import annotations

import pytest

from shards.errors import shown, without_credentials


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://host/a", "https://host/a"),
        ("https://me:secret@host/a", "https://host/a"),
        ("https://me:se@cret@host/a?signature=secret", "https://host/a"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
        ("", ""),
    ],
)
def test_what_is_shown(address: str, expected: str) -> None:
    assert shown(address) == expected


def test_in_a_text() -> None:
    assert without_credentials("no http://a:b@c/d, no ftp://e@f/g") == "no http://c/d, no ftp://f/g"
