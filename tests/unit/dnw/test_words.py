"""Words of a command line: made fit for Hydra's grammar, or refused in one line."""

from __future__ import annotations

import pytest
from hydra.errors import MissingConfigException

from dnw.compose import CONFIGS, KEYS
from dnw.config import ConfigError
from dnw.words import check_paths, explain, fit


@pytest.mark.parametrize(
    ("word", "fitted"),
    [
        ("width=0.3", "width=0.3"),
        ("wiring.source=runs/a=b", 'wiring.source="runs/a=b"'),
        ("data.dir=/daten/größe", 'data.dir="/daten/größe"'),
        ('data.dir=a"b#', 'data.dir="a\\"b#"'),
        ("optim.milestones=[1,2]", "optim.milestones=[1,2]"),
    ],
)
def test_a_value_outside_of_the_grammar_is_quoted(word: str, fitted: str) -> None:
    assert fit([word], CONFIGS, KEYS) == [fitted]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["width", "=", "0.3"], "width = 0.3: write it without spaces around the =: width=0.3"),
        (["width=", "0.3"], "width= 0.3: write it without spaces around the =: width=0.3"),
        (["static_dnw"], "static_dnw: write it as +exp=static_dnw"),
        (["widht"], "widht: must be NAME=VALUE; did you mean width?"),
        ([""], "'': must be NAME=VALUE"),
        (["optim.milestones=[1,2"], "optim.milestones=[1,2: not closed, or with a part that needs quotes"),
        (["+exp=a", "+exp=b"], "exp: named 2 times (a,b); name one, or with -m +exp=a,b all"),
        (["wid ht=1"], "wid ht: no such setting; did you mean width?"),
    ],
)
def test_a_word_that_is_none_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        fit(words, CONFIGS, KEYS)
    assert said in str(refused.value)


def test_the_values_of_a_sweep_are_quoted_each() -> None:
    assert fit(["width=0.1,0.2"], CONFIGS, KEYS, is_sweep=True) == ["width=0.1,0.2"]
    with pytest.raises(ConfigError, match="quote each value of the sweep") as refused:
        fit(["data.dir=a=b,c"], CONFIGS, KEYS, is_sweep=True)
    assert """'data.dir="a=b","c"'""" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Could not override 'widht'.\nKey 'widht' is not", "widht: no such setting; did you mean width?"),
        ("Could not override 'exp'.\nNo match", "exp: write it as +exp=NAME"),
        ("Multiple values for model. To override", "model: chosen already; write model=NAME, without the +"),
        (
            "model appears more than once in the final defaults list",
            "model: chosen twice; leave one out, or write model=NAME",
        ),
        ("something else\nand more", "something else"),
    ],
)
def test_what_hydra_refuses_is_said_in_one_line(text: str, line: str) -> None:
    assert explain(ValueError(text), [], CONFIGS, KEYS) == line


def test_an_option_that_is_not_there() -> None:
    for missing, options, line in (
        ("exp/demo_dwn", ["demo_dnw", "static_dnw"], "exp: no experiment 'demo_dwn'; did you mean demo_dnw?"),
        ("exp/zz", ["demo_dnw"], "exp: no experiment 'zz'; there are: demo_dnw"),
        ("model/timm", [], "model=timm: which of its networks? model=timm/NAME, say model=timm/resnet18"),
        ("wiring/dwn", ["dnw"], "wiring: no option 'dwn'; did you mean dnw?; there are: dnw"),
    ):
        error = MissingConfigException("no such file", missing, options or ["x"])
        assert explain(error, [], CONFIGS, KEYS).startswith(line)


def test_a_group_is_chosen_by_name() -> None:
    line = explain(ValueError(""), ["wiring=3"], CONFIGS, KEYS)
    assert line.startswith("wiring=3: wiring is chosen by its name, one of acdc, complete, dnw")


def test_folders_of_a_file_are_checked_as_those_that_are_typed() -> None:
    check_paths({"data": {"dir": "~/x", "url": "https://~nobody1/x"}, "after": ["a"], "init": None})
    for values, said in (
        ({"data": {"dir": "~nobody1/x"}}, "data.dir: '~nobody1/x': no home folder is known"),
        ({"after": ["a", "~nobody1/x"]}, "after: '~nobody1/x'"),
        ({"notify": {"slack": True, "ntfy": "$HERE/x"}}, r"notify.ntfy: '\$HERE/x': \$HERE is left as it is"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_paths(values)
