from pathlib import Path

from shards import shard
from shards.index.same_keys import Pair, pairs


def test_a_key_pairs_with_the_shard_before(tmp_path: Path) -> None:
    contents = {}
    for name, keys in (("a", "xyz"), ("b", "ywx"), ("c", "vx"), ("d", "")):
        path = tmp_path / f"{name}.tar"
        shard.write(path, [shard.Entry(key, "ppm", b"P6 1 1 255\nrgb", 0) for key in keys])
        contents[name] = shard.scan(path)
    assert pairs(contents) == [Pair("b", 0, "a", 1), Pair("b", 2, "a", 0), Pair("c", 1, "b", 2)]
    assert pairs({}) == []
    assert pairs({"c": contents["c"], "d": contents["d"]}) == []
