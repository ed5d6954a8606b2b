"""Numbers that commands take: each has a meaning, or is refused with what would have one."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

from launch import runs

NO_COUNT = ["-3", "-1", "1.5", "", " ", "a", "1e3", "0x10", "²", "9" * 30, "nan", "inf"]


@pytest.mark.parametrize("text", NO_COUNT)
@pytest.mark.parametrize(
    "words",
    [
        ["launch.runs", "logs", "x", "--lines"],
        ["launch.runs", "logs", "x", "--attempt"],
        ["launch.runs", "tensorboard", "--port"],
        ["shards.write", "imagefolder", "a", "b", "--shard-samples"],
        ["shards.write", "imagefolder", "a", "b", "--workers"],
        ["shards.write", "imagefolder", "a", "b", "--seed"],
        ["shards.write", "imagefolder", "a", "b", "--longest"],
        ["shards.write", "imagefolder", "a", "b", "--quality"],
        ["shards.write", "fashion_mnist", "a", "b", "--size"],
        ["shards.index", "a", "--workers"],
        ["shards.verify", "a", "--workers"],
    ],
    ids=" ".join,
)
def test_no_count(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, *others = words
    main: Callable[[list[str]], object] = importlib.import_module(module).main
    with pytest.raises(SystemExit) as ended:
        main([*others[:-1], f"{others[-1]}={text}"])
    assert ended.value.code == 2
    assert "must be a" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text", ["-1", "0", "inf", "nan", "-inf", "a", ""])
def test_no_time(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        runs.main(["status", f"--watch={text}"])
    assert ended.value.code == 2
    assert "must be " in capsys.readouterr().err.splitlines()[-1]
