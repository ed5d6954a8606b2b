"""Costs: by hand where no figure of the paper's code exists."""

from __future__ import annotations

import json

import pytest

from dnw.profile.__main__ import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+exp=cifar_dwn"], "cifar_dnw"),
        (["+exp=cifar_dnw", "widht=1"], "widht: no such setting; did you mean width?"),
        (["+exp=cifar_dnw", "+widht=1"], "widht: no such setting; did you mean width?"),
        (["+exp=cifar_dnw", "width=0"], "width: must be greater than 0 (got 0)"),
    ],
)
def test_bad_words_are_one_message(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_output_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["+exp=cifar_dnw", "width=0.225"]
    assert main([*words, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["image_size"] == 32
    assert [block["edges"] for block in found["blocks"]] == [104, 1245, 4977, 72991, 79627]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert f"parameters {found['params']:,}  multiply-adds {found['macs']:,}" in table
    assert "layers.4.graph" in table
    assert "79,627" in table
