import pytest

from shards.errors import ShardError
from shards.ignored import Ignored, printable


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("train/a/.hidden.jpg", ".*"),
        ("train/a/._x.jpg", ".*"),
        ("./.cache/x.jpg", ".*"),
        ("a/Thumbs.db", "Thumbs.db"),
        ("a/desktop.ini", "desktop.ini"),
        ("__MACOSX/a/x.jpg", "__MACOSX"),
        ("list.txt", "*.txt"),
        ("train/old/x.jpg", "train/old*"),
        ("x.csv", "*.csv"),
    ],
)
def test_what_is_named_is_counted(path: str, pattern: str) -> None:
    ignored = Ignored(["*.csv", "train/old*"])
    assert ignored.names(path)
    assert ignored.record()[pattern] == [1, path]
    assert ignored.total == 1


@pytest.mark.parametrize("path", ["./x.jpg", "../x.jpg", "/a/x.jpg", "a/x.txt.jpg", "README.jpg"])
def test_what_no_pattern_names(path: str) -> None:
    assert not Ignored(["y*"]).names(path)


def test_a_pattern_that_names_nothing_shows() -> None:
    assert list(Ignored(["*.csv"]).lines()) == ["not taken: 0 named *.csv"]


def test_the_patterns_that_it_offers_are_enough() -> None:
    lost = [
        "a/x.csv",
        "b/y.csv",
        "c/[z].xml",
        "d/stray.jpg",
        "e/stray.jpg",
        "noext",
        "new\nline",
        "caf\udce9.q",
    ]
    ignored = Ignored()
    for path in lost:
        ignored.refuse(path, "why")
    with pytest.raises(
        ShardError, match=r"src: 8 entries would be lost: a/x\.csv \(why\), b/y\.csv"
    ) as caught:
        ignored.check("src")
    assert "\n" not in str(caught.value)
    import shlex

    words = shlex.split(str(caught.value).partition("leave them out with ")[2])
    enough = Ignored(words[1::2])
    assert all(enough.names(path) for path in lost)
    assert not enough.names("d/kept.jpg")


def test_parts_are_added() -> None:
    one, other = Ignored(["*.csv"]), Ignored(["*.csv"])
    one.names("b.csv")
    other.names("a.txt")
    other.refuse("x", "odd")
    one.add(other)
    assert one.record() == {"*.csv": [1, "b.csv"], "*.txt": [1, "a.txt"]}
    assert one.refused == (("x", "odd"),)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("é", "é"),
        ("a b", "a b"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        ("caf\udce9", "caf\\xe9"),
        ("\u202e", "\\u202e"),
    ],
)
def test_names_are_shown_on_one_line(name: str, shown: str) -> None:
    assert printable(name) == shown
